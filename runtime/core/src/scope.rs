//! Scopes: what a credential may be used for (access.md §4).

use serde::{Deserialize, Serialize};

text_enum! {
    /// One scope of a session or token.
    pub enum Scope {
        ProfileWrite = "profile:write",
        TokensRead = "tokens:read",
        TokensWrite = "tokens:write",
        OrgsRead = "orgs:read",
        OrgsWrite = "orgs:write",
        OrgsJoin = "orgs:join",
        OrgsTransfer = "orgs:transfer",
        NamespacesWrite = "namespaces:write",
        NamespacesTransfer = "namespaces:transfer",
        RepositoriesWrite = "repositories:write",
        RepositoriesTransfer = "repositories:transfer",
        PackagesRead = "packages:read",
        PackagesPublish = "packages:publish",
        PackagesWrite = "packages:write",
        PackagesTransfer = "packages:transfer",
        SecurityWrite = "security:write",
        AuditRead = "audit:read",
        AdminWrite = "admin:write",
    }
}

impl Scope {
    /// The scopes this one directly brings along.
    pub const fn implies(self) -> &'static [Scope] {
        match self {
            Self::TokensWrite => &[Self::TokensRead],
            Self::OrgsWrite => &[Self::OrgsRead],
            Self::RepositoriesWrite | Self::PackagesPublish | Self::SecurityWrite => &[Self::PackagesRead],
            Self::PackagesWrite => &[Self::PackagesPublish, Self::SecurityWrite],
            _ => &[],
        }
    }
    /// Only platform administrators may hold it.
    pub const fn is_admin_only(self) -> bool {
        matches!(self, Self::AuditRead | Self::AdminWrite)
    }
}

/// A set of scopes; [`ScopeSet::allows`] follows implications.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ScopeSet(u32);

impl ScopeSet {
    pub const EMPTY: Self = Self(0);

    /// What a user's session carries: every scope that is not for administrators only.
    pub fn user_session() -> Self {
        Scope::ALL.iter().copied().filter(|s| !s.is_admin_only()).collect()
    }
    /// What an administrator's session carries: everything.
    pub fn admin_session() -> Self {
        Scope::ALL.iter().copied().collect()
    }
    pub fn contains(self, scope: Scope) -> bool {
        self.0 & (1 << scope as u32) != 0
    }
    /// Whether some scope of the set is `scope` or implies it.
    pub fn allows(self, scope: Scope) -> bool {
        fn reaches(from: Scope, to: Scope) -> bool {
            from == to || from.implies().iter().any(|s| reaches(*s, to))
        }
        self.iter().any(|s| reaches(s, scope))
    }
    /// Whether every scope of `other` is granted here, implications included.
    pub fn covers(self, other: Self) -> bool {
        other.iter().all(|s| self.allows(s))
    }
    pub fn without(self, scope: Scope) -> Self {
        Self(self.0 & !(1 << scope as u32))
    }
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }
    pub fn iter(self) -> impl Iterator<Item = Scope> {
        Scope::ALL.iter().copied().filter(move |s| self.contains(*s))
    }
    pub fn words(self) -> Vec<&'static str> {
        self.iter().map(Scope::as_str).collect()
    }
}

impl FromIterator<Scope> for ScopeSet {
    fn from_iter<I: IntoIterator<Item = Scope>>(scopes: I) -> Self {
        Self(scopes.into_iter().fold(0, |bits, s| bits | 1 << s as u32))
    }
}

impl Serialize for ScopeSet {
    fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_seq(self.iter())
    }
}
impl<'de> Deserialize<'de> for ScopeSet {
    fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        Ok(Vec::<Scope>::deserialize(d)?.into_iter().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn implications_are_transitive() {
        let write: ScopeSet = [Scope::PackagesWrite].into_iter().collect();
        assert!(write.allows(Scope::PackagesRead) && write.allows(Scope::SecurityWrite));
        assert!(!write.allows(Scope::PackagesTransfer));
        assert!(!ScopeSet::user_session().allows(Scope::AdminWrite));
    }
}
