//! The command line: commands, flags and their help.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use publaryn_config::FlagValue;

const EXAMPLES: &str = "\
Examples:
  publaryn                                       start with everything embedded, data in ./data
  publaryn serve --listen 0.0.0.0:3000 --base-url https://packages.example.com
  publaryn admin create-user --username ada --email ada@example.com --admin
  publaryn doctor                                check this installation
  publaryn backup --out /backup/publaryn.tar.zst

Settings come from flags, PUBLARYN__SECTION__KEY variables, a TOML file and defaults, in this order.
`publaryn doctor --print-config` shows the effective ones and where each came from.

Exit codes: 0 success, 1 failed, 2 usage, 3 pending migrations (migrate --check), 69 service unreachable,
70 internal error, 73 data directory not writable, 75 data directory in use, 78 configuration invalid.";

/// A package registry for npm, PyPI, Cargo, NuGet, Maven, RubyGems, Composer and OCI, in one program.
///
/// Without a command it starts the server.
#[derive(Debug, Parser)]
#[command(name = "publaryn", version, after_help = EXAMPLES, max_term_width = 110)]
pub struct Cli {
    #[command(flatten)]
    pub common: CommonArgs,
    #[command(flatten)]
    pub serve: ServeArgs,
    #[command(subcommand)]
    pub command: Option<Command>,
}

/// Flags of every command.
#[derive(Debug, Args)]
pub struct CommonArgs {
    /// Configuration file [default: ./publaryn.toml, then /etc/publaryn/publaryn.toml, if there is one]
    #[arg(long, value_name = "PATH", env = "PUBLARYN_CONFIG", global = true)]
    pub config: Option<PathBuf>,
    /// Directory of database, blobs, search index and secrets [default: ./data]
    #[arg(long, value_name = "DIR", global = true)]
    pub data_dir: Option<PathBuf>,
    /// Form of the log: pretty or json [default: pretty on a terminal]
    #[arg(long, value_name = "FORMAT", global = true)]
    pub log_format: Option<String>,
    /// Log level, or a filter such as info,publaryn_jobs=debug [default: info]
    #[arg(long, value_name = "LEVEL", global = true)]
    pub log_level: Option<String>,
}

/// Flags of `serve`.
#[derive(Debug, Default, Clone, Args)]
pub struct ServeArgs {
    /// Address to listen on; port 0 picks a free one [default: 127.0.0.1:3000]
    #[arg(long, value_name = "HOST:PORT")]
    pub listen: Option<String>,
    /// Public URL that clients use [default: http://<listen>]
    #[arg(long, value_name = "URL")]
    pub base_url: Option<String>,
    /// What this process does: all, api (no workers) or worker (no HTTP but probes) [default: all]
    #[arg(long, value_name = "ROLE")]
    pub role: Option<String>,
    /// Write the bound host:port to this file once the server is ready
    #[arg(long, value_name = "PATH")]
    pub addr_file: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Start the server (also without any command)
    Serve(ServeArgs),
    /// Bring the database schema up to date
    Migrate(MigrateArgs),
    /// Manage accounts beside a running server
    #[command(subcommand)]
    Admin(AdminCommand),
    /// Check configuration, data, services and jobs
    Doctor(DoctorArgs),
    /// Delete blobs that nothing refers to; safe while the server runs
    #[command(after_help = "Examples:
  publaryn gc --dry-run
  publaryn gc --grace 72h --json")]
    Gc(GcArgs),
    /// Write a consistent snapshot of an embedded installation, while the server runs
    #[command(after_help = "Example:\n  publaryn backup --data-dir /var/lib/publaryn --out /backup/publaryn.tar.zst")]
    Backup(BackupArgs),
    /// Restore a backup into an empty or absent data directory
    #[command(after_help = "Example:\n  publaryn restore --from /backup/publaryn.tar.zst --data-dir /var/lib/publaryn")]
    Restore(RestoreArgs),
    /// Measure on this machine
    #[command(subcommand)]
    Bench(BenchCommand),
    /// Print the OpenAPI 3.1 document of the management API
    #[command(after_help = "Example:\n  publaryn openapi > openapi.json")]
    Openapi,
    /// Scans artifacts on behalf of the server; not for people
    #[command(hide = true)]
    ScanWorker,
}

#[derive(Debug, Args)]
#[command(after_help = "Example, before a rolling upgrade:\n  publaryn migrate --check || publaryn migrate")]
pub struct MigrateArgs {
    /// Change nothing; exit 0 when current, 3 when migrations are pending
    #[arg(long)]
    pub check: bool,
    /// Change nothing; print what would be applied
    #[arg(long)]
    pub dry_run: bool,
}

#[derive(Debug, Subcommand)]
pub enum AdminCommand {
    /// Create an account and print its id
    #[command(after_help = "Examples:
  publaryn admin create-user --username ada --email ada@example.com --admin
  pass show ada | publaryn admin create-user --username ada --email ada@example.com --password-stdin")]
    CreateUser {
        #[arg(long, value_name = "NAME")]
        username: String,
        #[arg(long, value_name = "ADDRESS")]
        email: String,
        #[command(flatten)]
        password: PasswordArgs,
        /// Make it a platform administrator
        #[arg(long)]
        admin: bool,
    },
    /// Set a new password and end all sessions of the account
    SetPassword {
        #[arg(long, value_name = "NAME")]
        username: String,
        #[command(flatten)]
        password: PasswordArgs,
    },
    /// Make an account a platform administrator
    GrantAdmin {
        #[arg(long, value_name = "NAME")]
        username: String,
        /// Take the right away instead
        #[arg(long)]
        revoke: bool,
    },
    /// Remove the second factor of an account
    ResetMfa {
        #[arg(long, value_name = "NAME")]
        username: String,
    },
    /// Create an API token and print it; it is shown only here
    #[command(after_help = "Example:
  publaryn admin create-token --username ada --name ci --scopes packages:write --expires-in-days 30")]
    CreateToken {
        #[arg(long, value_name = "NAME")]
        username: String,
        /// What it is for
        #[arg(long, value_name = "TEXT")]
        name: String,
        /// Scopes, separated by commas
        #[arg(long, value_name = "A,B", value_delimiter = ',', required = true)]
        scopes: Vec<String>,
        /// Lifetime [default: auth.token_default_ttl_days]
        #[arg(long, value_name = "DAYS")]
        expires_in_days: Option<u32>,
    },
}

/// Where a password comes from. Never the command line: other users can read that.
#[derive(Debug, Args)]
pub struct PasswordArgs {
    /// Read the password from standard input
    #[arg(long, conflicts_with = "password_file")]
    pub password_stdin: bool,
    /// Read the password from a file
    #[arg(long, value_name = "PATH")]
    pub password_file: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub struct DoctorArgs {
    /// Print the checks as JSON
    #[arg(long)]
    pub json: bool,
    /// Print every effective setting and where it came from instead
    #[arg(long)]
    pub print_config: bool,
}

#[derive(Debug, Args)]
pub struct GcArgs {
    /// Change nothing; print what would be deleted
    #[arg(long)]
    pub dry_run: bool,
    /// Nothing younger is deleted: 90m, 24h or 7d [default: gc.grace_hours]
    #[arg(long, value_name = "TIME", value_parser = parse_grace)]
    pub grace: Option<std::time::Duration>,
    /// Print the result as JSON
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
pub struct BackupArgs {
    /// The archive to write (.tar.zst); replaced only when the new one is complete
    #[arg(long, value_name = "FILE")]
    pub out: PathBuf,
}

#[derive(Debug, Args)]
pub struct RestoreArgs {
    /// The archive to read
    #[arg(long, value_name = "FILE")]
    pub from: PathBuf,
}

#[derive(Debug, Subcommand)]
pub enum BenchCommand {
    /// Measure job throughput on an empty scratch database
    #[command(after_help = "\
Without --database it uses the configured database.url, when that or the data directory is set, and else
an SQLite file in a temporary directory. Whichever it is, it must be empty: everything else is refused.

Examples:
  publaryn bench jobs --count 100000
  publaryn bench jobs --count 100000 --database postgres://postgres@localhost/scratch")]
    Jobs(BenchJobsArgs),
}

#[derive(Debug, Args)]
pub struct BenchJobsArgs {
    /// Jobs to run
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=10_000_000))]
    pub count: u32,
    /// Jobs running at once [default: jobs.concurrency]
    #[arg(long, value_name = "C", value_parser = clap::value_parser!(u32).range(1..=4096))]
    pub concurrency: Option<u32>,
    /// An empty database: sqlite://PATH or postgres://…
    #[arg(long, value_name = "URL")]
    pub database: Option<String>,
}

impl CommonArgs {
    pub fn settings(&self) -> Vec<FlagValue> {
        let data_dir = self.data_dir.as_ref().map(|path| path.to_string_lossy().into_owned());
        collect([
            ("--data-dir", "data_dir", data_dir),
            ("--log-format", "log.format", self.log_format.clone()),
            ("--log-level", "log.level", self.log_level.clone()),
        ])
    }
}

impl ServeArgs {
    pub fn settings(&self) -> Vec<FlagValue> {
        collect([
            ("--listen", "server.listen", self.listen.clone()),
            ("--base-url", "server.base_url", self.base_url.clone()),
            ("--role", "server.role", self.role.clone()),
        ])
    }

    /// The first flag given, for refusing it before another command.
    pub fn first_given(&self) -> Option<&'static str> {
        let addr_file = self.addr_file.is_some().then_some("--addr-file");
        self.settings().first().map(|setting| setting.flag).or(addr_file)
    }

    /// `publaryn --listen X serve --role Y` means both.
    pub fn or(self, outer: Self) -> Self {
        Self {
            listen: self.listen.or(outer.listen),
            base_url: self.base_url.or(outer.base_url),
            role: self.role.or(outer.role),
            addr_file: self.addr_file.or(outer.addr_file),
        }
    }
}

fn collect<const N: usize>(given: [(&'static str, &'static str, Option<String>); N]) -> Vec<FlagValue> {
    given.into_iter().filter_map(|(flag, key, value)| Some(FlagValue { flag, key, value: value? })).collect()
}

fn parse_grace(text: &str) -> Result<std::time::Duration, String> {
    let unit = |suffix, seconds: u64| text.strip_suffix(suffix).map(|number| (number, seconds));
    let (number, seconds) = unit('m', 60)
        .or_else(|| unit('h', 3600))
        .or_else(|| unit('d', 86_400))
        .or_else(|| unit('s', 1))
        .ok_or("write a number with a unit, such as 24h")?;
    let number: u64 = number.parse().map_err(|_| "write a number with a unit, such as 24h")?;
    let total = number.checked_mul(seconds).filter(|total| *total <= 3_155_760_000);
    Ok(std::time::Duration::from_secs(total.ok_or("that is more than a hundred years")?))
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_well_formed() {
        Cli::command().debug_assert();
    }

    #[test]
    fn grace_has_a_unit() {
        assert_eq!(parse_grace("24h").unwrap().as_secs(), 86_400);
        assert_eq!(parse_grace("90m").unwrap().as_secs(), 5400);
        assert_eq!(parse_grace("0s").unwrap().as_secs(), 0);
        for bad in ["24", "h", "-1h", "1.5h", "99999999999999d", ""] {
            assert!(parse_grace(bad).is_err(), "{bad} was accepted");
        }
    }
}
