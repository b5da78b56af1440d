//! Running one statement on whichever engine is behind.

use crate::{Db, Engine};

/// Two texts of one question, where the engines must differ.
#[derive(Debug, Clone, Copy)]
pub struct Sql {
    pub sqlite: &'static str,
    pub postgres: &'static str,
}

impl Sql {
    pub fn on(self, engine: Engine) -> &'static str {
        match engine {
            Engine::Sqlite => self.sqlite,
            Engine::Postgres => self.postgres,
        }
    }
}

impl Db {
    pub(crate) fn sql(&self, sql: Sql) -> &'static str {
        sql.on(self.engine())
    }
}

/// A question about several packages at once: between the texts stands that an id is among those of `$1`
/// ([`crate::rows::id_list`]).
macro_rules! for_packages {
    ($head:expr, $tail:expr) => {
        $crate::Sql {
            sqlite: concat!($head, " IN (SELECT unhex(value) FROM json_each($1))", $tail),
            postgres: concat!($head, " = ANY(ARRAY(SELECT CAST(json_array_elements_text($1::json) AS uuid)))", $tail),
        }
    };
}

/// Whether finding `f` is about a file in a quarantine of its own, which readers of a live release know nothing of.
/// Such files are few and have an index.
macro_rules! is_about_withheld_file {
    () => {
        "EXISTS (SELECT 1 FROM artifacts q WHERE q.id = f.artifact_id AND q.state IN ('scanning', 'held'))"
    };
}

/// Evaluates `$body` with `$c` bound to the reading pool of the engine.
macro_rules! on_db {
    ($db:expr, |$c:ident| $body:expr) => {{
        $crate::asked::note(concat!(file!(), ":", line!()));
        match $db.backend() {
            $crate::db::Backend::Sqlite { reader: $c, .. } => $body,
            $crate::db::Backend::Postgres($c) => $body,
        }
    }};
}

/// Runs a statement of the open transaction whose outcome nobody looks at, with values for `$1` and on: on SQLite
/// together with the next one (see `deferred`), on PostgreSQL at once.
macro_rules! later {
    ($tx:expr, $sql:expr, $($value:expr),+ $(,)?) => {
        match $tx.connection() {
            $crate::tx::Connection::Sqlite(t) => {
                t.later($sql, vec![$(Box::new($value) as Box<dyn $crate::deferred::Parameter>),+]).await
            }
            $crate::tx::Connection::Postgres(t) => {
                sqlx::query($sql)$(.bind($value))+.execute(&mut ***t).await.map(drop)
            }
        }
    };
}

/// Evaluates `$body` with `$c` bound to the connection of the open transaction.
macro_rules! on_tx {
    ($tx:expr, |$c:ident| $body:expr) => {{
        $crate::asked::note(concat!(file!(), ":", line!()));
        match $tx.connection() {
            $crate::tx::Connection::Sqlite(t) => {
                let $c = t.connection();
                $body
            }
            $crate::tx::Connection::Postgres(t) => {
                let $c = &mut ***t;
                $body
            }
        }
    }};
}
