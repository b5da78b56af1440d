//! Slows down password guessing: failures per account and address, and per account.
//!
//! Counts live in this process only: each replica allows the limit on its own, which stays a
//! small multiple. A caller is counted before the password is checked and forgiven when it was
//! right, so parallel guesses do not slip through.

use std::{
    collections::{HashMap, VecDeque},
    net::{IpAddr, Ipv6Addr},
    sync::Mutex,
    time::Duration,
};

use publaryn_core::Timestamp;

/// How many failures are allowed in the window.
#[derive(Debug, Clone, Copy)]
pub struct ThrottleLimits {
    pub per_account_and_address: usize,
    pub per_account: usize,
    pub window: Duration,
}

impl Default for ThrottleLimits {
    /// control-plane.md §3, login throttle.
    fn default() -> Self {
        Self { per_account_and_address: 10, per_account: 50, window: Duration::from_secs(15 * 60) }
    }
}

/// Too many failures; ask again after `retry_after`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("too many failed attempts")]
pub struct Throttled {
    pub retry_after: Duration,
}

/// Accounts watched at once; beyond it the longest quiet one is forgotten. About 100 bytes each.
const MAX_ACCOUNTS: usize = 50_000;

/// Recent failed logins of this process.
pub struct LoginThrottle {
    limits: ThrottleLimits,
    accounts: Mutex<HashMap<String, VecDeque<Failure>>>,
}

#[derive(Clone, Copy, PartialEq)]
struct Failure {
    at: Timestamp,
    from: Option<IpAddr>,
}

impl LoginThrottle {
    pub fn new(limits: ThrottleLimits) -> Self {
        Self { limits, accounts: Mutex::default() }
    }

    /// Counts an attempt on `account` (any stable key, known or not) as failed, until
    /// [`LoginThrottle::forgive`] takes it back.
    ///
    /// # Errors
    /// When the account, or this address on it, has used up its failures; then nothing is counted.
    pub fn attempt(&self, account: &str, from: Option<IpAddr>, now: Timestamp) -> Result<(), Throttled> {
        let from = from.map(network_of);
        let mut accounts = self.accounts.lock().expect("no holder panics");
        if accounts.len() >= MAX_ACCOUNTS && !accounts.contains_key(account) {
            make_room(&mut accounts, now, self.limits.window);
        }
        let failures = accounts.entry(account.to_owned()).or_default();
        while failures.front().is_some_and(|f| now.since(f.at) >= self.limits.window) {
            failures.pop_front();
        }
        let here: Vec<Timestamp> = failures.iter().filter(|f| f.from == from).map(|f| f.at).collect();
        // The attempt is allowed again once the oldest of the last `limit` failures has left the window.
        let blocking = nth_last(&here, self.limits.per_account_and_address)
            .or_else(|| nth_last(&failures.iter().map(|f| f.at).collect::<Vec<_>>(), self.limits.per_account));
        if let Some(oldest) = blocking {
            let retry_after = self.limits.window.saturating_sub(now.since(oldest));
            return Err(Throttled { retry_after: retry_after.max(Duration::from_secs(1)) });
        }
        failures.push_back(Failure { at: now, from });
        Ok(())
    }

    /// Forgets the failures of this address: the password was right.
    pub fn forgive(&self, account: &str, from: Option<IpAddr>) {
        let from = from.map(network_of);
        let mut accounts = self.accounts.lock().expect("no holder panics");
        if let Some(failures) = accounts.get_mut(account) {
            failures.retain(|f| f.from != from);
            if failures.is_empty() {
                accounts.remove(account);
            }
        }
    }
}

fn nth_last(times: &[Timestamp], limit: usize) -> Option<Timestamp> {
    times.len().checked_sub(limit).map(|index| times[index])
}

/// Drops what has expired, or else the account that has been quiet longest.
fn make_room(accounts: &mut HashMap<String, VecDeque<Failure>>, now: Timestamp, window: Duration) {
    accounts.retain(|_, failures| failures.back().is_some_and(|f| now.since(f.at) < window));
    if accounts.len() >= MAX_ACCOUNTS {
        let quiet = accounts.iter().min_by_key(|(_, f)| f.back().map(|f| f.at)).map(|(name, _)| name.clone());
        if let Some(name) = quiet {
            accounts.remove(&name);
        }
    }
}

/// One customer holds a whole /64, so IPv6 addresses count by their network.
pub fn network_of(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(v4) => IpAddr::V4(v4),
        IpAddr::V6(v6) => IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() & !u128::from(u64::MAX))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_micros(seconds * 1_000_000)
    }
    fn ip(text: &str) -> Option<IpAddr> {
        Some(text.parse().unwrap())
    }

    #[test]
    fn ten_failures_from_one_address_lock_that_address_only() {
        let throttle = LoginThrottle::new(ThrottleLimits::default());
        for second in 0..10 {
            throttle.attempt("alice", ip("192.0.2.1"), at(second)).unwrap();
        }
        let refused = throttle.attempt("alice", ip("192.0.2.1"), at(10)).unwrap_err();
        assert_eq!(refused.retry_after, Duration::from_secs(15 * 60 - 10));
        throttle.attempt("alice", ip("192.0.2.2"), at(10)).unwrap();
        throttle.attempt("bob", ip("192.0.2.1"), at(10)).unwrap();
        throttle.attempt("alice", ip("192.0.2.1"), at(15 * 60)).unwrap();
    }

    #[test]
    fn fifty_failures_lock_the_account_for_everyone() {
        let throttle = LoginThrottle::new(ThrottleLimits::default());
        for n in 0..50 {
            throttle.attempt("alice", ip(&format!("192.0.2.{n}")), at(0)).unwrap();
        }
        assert!(throttle.attempt("alice", ip("192.0.2.200"), at(1)).is_err());
    }

    #[test]
    fn a_right_password_forgives_its_own_address() {
        let throttle = LoginThrottle::new(ThrottleLimits::default());
        for _ in 0..3 {
            for _ in 0..9 {
                throttle.attempt("alice", ip("192.0.2.1"), at(0)).unwrap();
            }
            throttle.forgive("alice", ip("192.0.2.1"));
        }
    }

    #[test]
    fn ipv6_neighbours_count_as_one_and_mapped_ipv4_as_ipv4() {
        assert_eq!(network_of("2001:db8::1".parse().unwrap()), network_of("2001:db8::ffff:1".parse().unwrap()));
        assert_ne!(network_of("2001:db8::1".parse().unwrap()), network_of("2001:db8:0:1::1".parse().unwrap()));
        assert_eq!(network_of("::ffff:192.0.2.1".parse().unwrap()), network_of("192.0.2.1".parse().unwrap()));
    }

    #[test]
    fn memory_is_bounded() {
        let throttle = LoginThrottle::new(ThrottleLimits::default());
        {
            let mut accounts = throttle.accounts.lock().unwrap();
            for n in 0..MAX_ACCOUNTS {
                accounts.insert(n.to_string(), VecDeque::from([Failure { at: at(n as i64 % 100), from: None }]));
            }
        }
        throttle.attempt("another", None, at(100)).unwrap();
        assert_eq!(throttle.accounts.lock().unwrap().len(), MAX_ACCOUNTS);
        throttle.attempt("later", None, at(10_000)).unwrap();
        assert_eq!(throttle.accounts.lock().unwrap().len(), 1);
    }
}
