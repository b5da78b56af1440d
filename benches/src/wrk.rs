//! The load generator for reads: wrk, an installed program that is far from being the bottleneck.

use std::time::Duration;

use tokio::process::Command;

use crate::{Error, process};

/// A read load: so many connections, each sending its next request as soon as it has the answer.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Load {
    pub threads: u32,
    pub connections: u32,
    pub turn: Duration,
}

/// What one turn gave.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Outcome {
    pub requests_per_second: f64,
    pub bytes_per_second: f64,
    pub p99_ms: f64,
}

impl Load {
    /// # Errors
    /// When wrk saw a socket error or an answer that is not 2xx or 3xx: such a turn measures nothing.
    pub(crate) async fn run(&self, url: &str, headers: &[(&str, &str)]) -> Result<Outcome, Error> {
        let mut command = Command::new("wrk");
        command.args(["--latency", "--timeout", "30s"]);
        command.args(["-t", &self.threads.to_string(), "-c", &self.connections.to_string()]);
        command.args(["-d", &format!("{}s", self.turn.as_secs())]);
        for (name, value) in headers {
            command.args(["-H", &format!("{name}: {value}")]);
        }
        let text = process::output(command.arg(url)).await?;
        parse(&text).map_err(|error| format!("{url}: {error}").into())
    }
}

fn parse(text: &str) -> Result<Outcome, Error> {
    let line = |name: &str| text.lines().find_map(|line| line.trim().strip_prefix(name)).map(str::trim);
    if let Some(bad) = line("Non-2xx or 3xx responses:").or_else(|| line("Socket errors:")) {
        return Err(format!("answers went wrong: {bad}").into());
    }
    let wanted = |name: &str| line(name).ok_or_else(|| format!("wrk did not print {name}\n{text}"));
    Ok(Outcome {
        requests_per_second: wanted("Requests/sec:")?.parse()?,
        bytes_per_second: bytes(wanted("Transfer/sec:")?)?,
        p99_ms: milliseconds(wanted("99%")?)?,
    })
}

fn bytes(text: &str) -> Result<f64, Error> {
    scaled(text, &[("GB", 1073741824.0), ("MB", 1048576.0), ("KB", 1024.0), ("B", 1.0)])
}

fn milliseconds(text: &str) -> Result<f64, Error> {
    scaled(text, &[("us", 0.001), ("ms", 1.0), ("s", 1000.0), ("m", 60_000.0)])
}

fn scaled(text: &str, units: &[(&str, f64)]) -> Result<f64, Error> {
    let unit = units.iter().find_map(|(unit, factor)| text.strip_suffix(unit).map(|number| (number, factor)));
    let (number, factor) = unit.ok_or_else(|| format!("`{text}` has no unit"))?;
    Ok(number.trim().parse::<f64>()? * factor)
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "Running 1s test @ http://127.0.0.1:1/\n  2 threads and 64 connections\n  Thread Stats   Avg      Stdev     Max   +/- Stdev\n    Latency     1.21ms  300.00us   9.00ms   80.00%\n    Req/Sec    26.10k     1.00k   28.00k    60.00%\n  Latency Distribution\n     50%    1.15ms\n     75%    1.30ms\n     90%    1.50ms\n     99%    2.25ms\n  52010 requests in 1.00s, 1.20GB read\nRequests/sec:  51922.31\nTransfer/sec:      1.50GB\n";

    #[test]
    fn reads_what_wrk_prints() {
        let outcome = parse(GOOD).unwrap();
        assert_eq!(outcome, Outcome { requests_per_second: 51922.31, bytes_per_second: 1610612736.0, p99_ms: 2.25 });
    }

    #[test]
    fn a_turn_with_errors_measures_nothing() {
        for bad in ["  Non-2xx or 3xx responses: 4\n", "  Socket errors: connect 0, read 5, write 0, timeout 0\n"] {
            assert!(parse(&format!("{GOOD}{bad}")).is_err());
        }
    }
}
