//! Writes of a SQLite transaction that ride along with its next statement.
//!
//! Each statement is a trip to SQLite's thread and back, with the writer held meanwhile (ADR 0008), so a write
//! whose outcome nobody looks at makes none of its own: its text is put in front of the next statement's, and
//! one trip runs both. Whoever reads afterwards in the same transaction finds it done; when it fails, the
//! statement that it rode with fails.

use futures::{
    FutureExt, StreamExt, TryStreamExt,
    future::{self, BoxFuture},
    stream::{self, BoxStream},
};
use sqlx::{
    Arguments as _, AssertSqlSafe, Describe, Either, Encode, Execute, Executor, SqlStr, Sqlite, SqliteConnection, Type,
    error::BoxDynError,
    query::Query,
    sqlite::{SqliteArguments, SqliteQueryResult, SqliteRow, SqliteStatement, SqliteTypeInfo},
};

/// Writes that may wait for each other before they make a trip of their own; bounds their text.
const MAX_WAITING: usize = 24;

/// A value to be bound later.
pub(crate) trait Parameter: Send {
    fn bind(&self, to: &mut SqliteArguments) -> Result<(), BoxDynError>;
}

impl<T: Encode<'static, Sqlite> + Type<Sqlite> + Clone + Send> Parameter for T {
    fn bind(&self, to: &mut SqliteArguments) -> Result<(), BoxDynError> {
        to.add(self.clone())
    }
}

struct Write {
    /// Returns no rows, and numbers its parameters from `$1` on.
    sql: &'static str,
    values: Vec<Box<dyn Parameter>>,
}

/// The writes that still wait for a statement to ride with.
#[derive(Default)]
pub(crate) struct Deferred(Vec<Write>);

impl Deferred {
    pub(crate) fn push(&mut self, sql: &'static str, values: Vec<Box<dyn Parameter>>) {
        self.0.push(Write { sql, values });
    }
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
    pub(crate) fn is_full(&self) -> bool {
        self.0.len() >= MAX_WAITING
    }
    pub(crate) fn take(&mut self) -> Self {
        std::mem::take(self)
    }

    /// They and `query` as one: the values of `query` keep their numbers, the others follow.
    fn before<'q>(self, mut query: impl Execute<'q, Sqlite>) -> Result<Joined, sqlx::Error> {
        let mut values = query.take_arguments().map_err(sqlx::Error::Encode)?.unwrap_or_default();
        let sql = query.sql();
        let sql = sql.as_str();
        let length: usize = self.0.iter().map(|write| write.sql.len() + 16).sum();
        let mut text = String::with_capacity(length + sql.len());
        for write in self.0 {
            renumber(&mut text, write.sql, values.len());
            text.push(';');
            for value in &write.values {
                value.bind(&mut values).map_err(sqlx::Error::Encode)?;
            }
        }
        text.push_str(sql);
        Ok(sqlx::query_with(AssertSqlSafe(text), values))
    }
}

/// Appends a statement with `offset` added to the numbers of its parameters.
fn renumber(text: &mut String, sql: &str, offset: usize) {
    let mut rest = sql;
    while let Some(at) = rest.find('$') {
        let (head, tail) = rest.split_at(at + 1);
        text.push_str(head);
        let digits = tail.bytes().take_while(u8::is_ascii_digit).count();
        match tail[..digits].parse::<usize>() {
            Ok(number) => text.push_str(&(number + offset).to_string()),
            // A path into JSON (`$.name`).
            Err(_) => text.push_str(&tail[..digits]),
        }
        rest = &tail[digits..];
    }
    text.push_str(rest);
}

/// The connection of a transaction, with what rides along with the next statement.
pub(crate) struct Rider<'t> {
    pub(crate) connection: &'t mut SqliteConnection,
    pub(crate) before: Deferred,
}

impl std::fmt::Debug for Rider<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Rider").field("before", &self.before.0.len()).finish_non_exhaustive()
    }
}

type Joined = Query<'static, Sqlite, SqliteArguments>;
type Step = Result<Either<SqliteQueryResult, SqliteRow>, sqlx::Error>;

impl<'t> Executor<'t> for Rider<'t> {
    type Database = Sqlite;

    fn fetch_many<'e, 'q: 'e, E>(self, query: E) -> BoxStream<'e, Step>
    where
        't: 'e,
        E: 'q + Execute<'q, Sqlite>,
    {
        let Self { connection, before } = self;
        if before.is_empty() {
            return connection.fetch_many(query);
        }
        // Each write ends with a count of rows, which is not the answer to `query`.
        let riding = before.0.len();
        match before.before(query) {
            Ok(joined) => {
                let mut left = riding;
                let is_answer = move |_: &Either<SqliteQueryResult, SqliteRow>| {
                    let is_answer = left == 0;
                    left = left.saturating_sub(1);
                    future::ready(is_answer)
                };
                connection.fetch_many(joined).try_filter(is_answer).boxed()
            }
            Err(error) => stream::once(future::ready(Err(error))).boxed(),
        }
    }

    fn fetch_optional<'e, 'q: 'e, E>(self, query: E) -> BoxFuture<'e, Result<Option<SqliteRow>, sqlx::Error>>
    where
        't: 'e,
        E: 'q + Execute<'q, Sqlite>,
    {
        let Self { connection, before } = self;
        if before.is_empty() {
            return connection.fetch_optional(query);
        }
        // The writes return no rows, so the first one is an answer to `query`.
        match before.before(query) {
            Ok(joined) => connection.fetch_optional(joined),
            Err(error) => future::ready(Err(error)).boxed(),
        }
    }

    fn prepare_with<'e>(
        self,
        sql: SqlStr,
        parameters: &'e [SqliteTypeInfo],
    ) -> BoxFuture<'e, Result<SqliteStatement, sqlx::Error>>
    where
        't: 'e,
    {
        self.connection.prepare_with(sql, parameters)
    }

    fn describe<'e>(self, sql: SqlStr) -> BoxFuture<'e, Result<Describe<Sqlite>, sqlx::Error>>
    where
        't: 'e,
    {
        self.connection.describe(sql)
    }
}

#[cfg(test)]
mod tests {
    use super::renumber;

    #[test]
    fn parameters_follow_those_of_the_statement_they_ride_with() {
        let mut text = String::new();
        renumber(&mut text, "UPDATE t SET a = $2, b = a ->> '$.x' WHERE id = $1 OR $10", 3);
        assert_eq!(text, "UPDATE t SET a = $5, b = a ->> '$.x' WHERE id = $4 OR $13");
    }
}
