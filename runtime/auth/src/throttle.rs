//! Slows down password guessing: failures per account and address, and per account.
//!
//! A caller is counted before the password is checked and forgiven when it was right, so parallel guesses do not
//! slip through. Counts live in this process; what is counted is told ([`LoginThrottle::notes`]), and what other
//! replicas tell is counted, too. While they do not hear each other, each allows the limit on its own.

use std::{
    collections::{HashMap, VecDeque},
    net::IpAddr,
    sync::Mutex,
    time::Duration,
};

use publaryn_core::{Timestamp, network_of};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use tokio::sync::broadcast;

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

/// What one replica tells the others.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AttemptNote {
    account: AccountDigest,
    from: Option<IpAddr>,
    /// The password was right after all.
    is_forgiven: bool,
}

/// An account as throttles know it: people type all kinds of things for a user name, which nobody needs to see.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
struct AccountDigest([u8; 16]);

impl AccountDigest {
    fn of(account: &str) -> Self {
        let mut short = [0; 16];
        short.copy_from_slice(&Sha256::digest(account)[..16]);
        Self(short)
    }
}

/// Notes that wait to be told; beyond it the oldest is not.
const NOTES: usize = 1024;

/// Accounts watched at once; beyond it the longest quiet one is forgotten. About 100 bytes each.
const MAX_ACCOUNTS: usize = 50_000;

/// Recent failed logins of this process.
pub struct LoginThrottle {
    limits: ThrottleLimits,
    accounts: Mutex<HashMap<AccountDigest, VecDeque<Failure>>>,
    notes: broadcast::Sender<AttemptNote>,
}

#[derive(Clone, Copy, PartialEq)]
struct Failure {
    at: Timestamp,
    from: Option<IpAddr>,
}

impl LoginThrottle {
    pub fn new(limits: ThrottleLimits) -> Self {
        Self { limits, accounts: Mutex::default(), notes: broadcast::channel(NOTES).0 }
    }

    /// Counts an attempt on `account` (any stable key, known or not) as failed, until
    /// [`LoginThrottle::forgive`] takes it back.
    ///
    /// # Errors
    /// When the account, or this address on it, has used up its failures; then nothing is counted.
    pub fn attempt(&self, account: &str, from: Option<IpAddr>, now: Timestamp) -> Result<(), Throttled> {
        let (account, from) = (AccountDigest::of(account), from.map(network_of));
        let mut accounts = self.accounts.lock().expect("no holder panics");
        let failures = self.failures_of(&mut accounts, account, now);
        let here: Vec<Timestamp> = failures.iter().filter(|f| f.from == from).map(|f| f.at).collect();
        // The attempt is allowed again once the oldest of the last `limit` failures has left the window.
        let blocking = nth_last(&here, self.limits.per_account_and_address)
            .or_else(|| nth_last(&failures.iter().map(|f| f.at).collect::<Vec<_>>(), self.limits.per_account));
        if let Some(oldest) = blocking {
            let retry_after = self.limits.window.saturating_sub(now.since(oldest));
            return Err(Throttled { retry_after: retry_after.max(Duration::from_secs(1)) });
        }
        failures.push_back(Failure { at: now, from });
        self.tell(AttemptNote { account, from, is_forgiven: false });
        Ok(())
    }

    /// Forgets the failures of this address: the password was right.
    pub fn forgive(&self, account: &str, from: Option<IpAddr>) {
        let note = AttemptNote { account: AccountDigest::of(account), from: from.map(network_of), is_forgiven: true };
        self.forget(&note);
        self.tell(note);
    }

    /// What is counted and forgiven here from now on.
    pub fn notes(&self) -> broadcast::Receiver<AttemptNote> {
        self.notes.subscribe()
    }

    /// Counts what another replica told.
    pub fn hear(&self, note: &AttemptNote, now: Timestamp) {
        if note.is_forgiven {
            return self.forget(note);
        }
        let mut accounts = self.accounts.lock().expect("no holder panics");
        let failures = self.failures_of(&mut accounts, note.account, now);
        // No more are needed to refuse.
        if failures.len() < self.limits.per_account {
            failures.push_back(Failure { at: now, from: note.from.map(network_of) });
        }
    }

    fn tell(&self, note: AttemptNote) {
        // An error only says that there is nobody to tell.
        let _ = self.notes.send(note);
    }

    /// The failures of an account that still count.
    fn failures_of<'a>(
        &self,
        accounts: &'a mut HashMap<AccountDigest, VecDeque<Failure>>,
        account: AccountDigest,
        now: Timestamp,
    ) -> &'a mut VecDeque<Failure> {
        if accounts.len() >= MAX_ACCOUNTS && !accounts.contains_key(&account) {
            make_room(accounts, now, self.limits.window);
        }
        let failures = accounts.entry(account).or_default();
        while failures.front().is_some_and(|f| now.since(f.at) >= self.limits.window) {
            failures.pop_front();
        }
        failures
    }

    fn forget(&self, note: &AttemptNote) {
        let mut accounts = self.accounts.lock().expect("no holder panics");
        if let Some(failures) = accounts.get_mut(&note.account) {
            failures.retain(|f| f.from != note.from);
            if failures.is_empty() {
                accounts.remove(&note.account);
            }
        }
    }
}

fn nth_last(times: &[Timestamp], limit: usize) -> Option<Timestamp> {
    times.len().checked_sub(limit).map(|index| times[index])
}

/// Drops what has expired, or else the account that has been quiet longest.
fn make_room(accounts: &mut HashMap<AccountDigest, VecDeque<Failure>>, now: Timestamp, window: Duration) {
    accounts.retain(|_, failures| failures.back().is_some_and(|f| now.since(f.at) < window));
    if accounts.len() >= MAX_ACCOUNTS {
        let quiet = accounts.iter().min_by_key(|(_, f)| f.back().map(|f| f.at)).map(|(account, _)| *account);
        if let Some(account) = quiet {
            accounts.remove(&account);
        }
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
    fn replicas_that_hear_each_other_count_together() {
        let (one, two) = (LoginThrottle::new(ThrottleLimits::default()), LoginThrottle::new(ThrottleLimits::default()));
        let mut notes = one.notes();
        let mut pass_on = || {
            while let Ok(note) = notes.try_recv() {
                let told = serde_json::to_string(&note).unwrap();
                assert!(!told.contains("alice"));
                two.hear(&serde_json::from_str(&told).unwrap(), at(0));
            }
        };
        (0..9).for_each(|_| one.attempt("alice", ip("2001:db8::1"), at(0)).unwrap());
        pass_on();
        two.attempt("alice", ip("2001:db8::2"), at(0)).unwrap();
        assert!(two.attempt("alice", ip("2001:db8::2"), at(0)).is_err());
        two.attempt("alice", ip("192.0.2.1"), at(0)).unwrap();
        one.forgive("alice", ip("2001:db8::1"));
        pass_on();
        two.attempt("alice", ip("2001:db8::2"), at(0)).unwrap();
        // However much is told, no more is kept than is needed to refuse.
        let note = AttemptNote { account: AccountDigest::of("bob"), from: None, is_forgiven: false };
        (0..1000).for_each(|_| two.hear(&note, at(0)));
        assert_eq!(two.accounts.lock().unwrap()[&AccountDigest::of("bob")].len(), 50);
    }

    #[test]
    fn memory_is_bounded() {
        let throttle = LoginThrottle::new(ThrottleLimits::default());
        {
            let mut accounts = throttle.accounts.lock().unwrap();
            for n in 0..MAX_ACCOUNTS {
                accounts.insert(
                    AccountDigest::of(&n.to_string()),
                    VecDeque::from([Failure { at: at(n as i64 % 100), from: None }]),
                );
            }
        }
        throttle.attempt("another", None, at(100)).unwrap();
        assert_eq!(throttle.accounts.lock().unwrap().len(), MAX_ACCOUNTS);
        throttle.attempt("later", None, at(10_000)).unwrap();
        assert_eq!(throttle.accounts.lock().unwrap().len(), 1);
    }
}
