//! What is limited, and by whose account.

use std::{fmt, net::IpAddr};

use publaryn_core::{
    Principal, TokenId, UserId, network_of,
    principal::{Credential, Who},
};

/// A class of requests with a limit of its own (configuration.md §4, `rate_limit`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Tier {
    Auth,
    Write,
    Read,
    ProtocolRead,
    ProtocolWrite,
}

impl Tier {
    pub const ALL: [Self; 5] = [Self::Auth, Self::Write, Self::Read, Self::ProtocolRead, Self::ProtocolWrite];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Auth => "auth",
            Self::Write => "write",
            Self::Read => "read",
            Self::ProtocolRead => "protocol_read",
            Self::ProtocolWrite => "protocol_write",
        }
    }

    /// Decided by the shared buckets where there are any, and not from what this process knows of them: a limit
    /// that guards passwords holds at once, for all replicas together.
    pub(crate) const fn is_exact(self) -> bool {
        matches!(self, Self::Auth)
    }
}

/// Whose bucket a request is taken from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Payer {
    /// Callers without a credential that holds, by their network.
    Address(IpAddr),
    Token(TokenId),
    /// The account behind a session.
    User(UserId),
}

impl Payer {
    pub fn address(ip: IpAddr) -> Self {
        Self::Address(network_of(ip))
    }

    /// The credential of a caller, if it has one that holds.
    pub fn of_credential(who: &Principal) -> Option<Self> {
        match (who.credential, &who.who) {
            (Credential::Token(id, _), _) => Some(Self::Token(id)),
            (_, Who::User(user)) => Some(Self::User(user.id)),
            _ => None,
        }
    }
}

/// The bucket's name among replicas.
impl fmt::Display for Payer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(ip) => write!(f, "ip:{ip}"),
            Self::Token(id) => write!(f, "token:{id}"),
            Self::User(id) => write!(f, "user:{id}"),
        }
    }
}

/// One bucket.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Key {
    pub tier: Tier,
    pub payer: Payer,
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.tier.as_str(), self.payer)
    }
}
