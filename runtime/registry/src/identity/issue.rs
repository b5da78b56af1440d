//! Issuing API tokens under the rules of access.md §5.

use std::time::Duration;

use publaryn_auth::{RuleBreak, Token};
use publaryn_core::{
    Ecosystem, OrgId, OrgRole, PackageName, Principal, RegistryError, Scope, ScopeSet, Timestamp, TokenId, TokenKind,
    UserId,
    access::{Decision, Operation, Resource, decide},
    audit::{AuditAction, AuditEntry, ClientOrigin},
    principal::{Binding, Credential},
};
use publaryn_metadata::{
    tokens::{ListedToken, TokenRow},
    users::UserRow,
};

use super::{
    DAY, Identity, IdentityError, PasswordProof, administration::allow, authenticate::session_scopes,
    login::VerifiedLogin, require_scope,
};

/// Longest token name, in characters.
pub const MAX_NAME_CHARS: usize = 200;
/// Life of a `ci` or `publish` token: by default, and at most.
const SHORT_DEFAULT: Duration = Duration::from_secs(3600);
const SHORT_MAX: Duration = DAY;

/// What an organization's own tokens may be (access.md §5).
const AUTOMATION_ROLES: [OrgRole; 5] =
    [OrgRole::Maintainer, OrgRole::Publisher, OrgRole::SecurityManager, OrgRole::Auditor, OrgRole::Viewer];

/// What somebody asks for.
#[derive(Debug, Clone)]
pub struct TokenRequest {
    pub name: String,
    pub kind: TokenKind,
    pub scopes: ScopeSet,
    pub lifetime: Lifetime,
    pub binding: RequestedBinding,
    /// Of an `org_automation` token.
    pub organization: Option<RequestedOrganization>,
}

/// Which organization a token acts as, and with what role.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestedOrganization {
    pub slug: String,
    pub role: OrgRole,
}

/// Whose a new token is.
pub(super) enum TokenOwner {
    User(UserId),
    /// Somebody who just proved a password instead of showing a credential.
    Proven(Box<VerifiedLogin>),
    Organization {
        id: OrgId,
        slug: String,
        role: OrgRole,
    },
}

/// How long a token shall live.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lifetime {
    /// What the kind and the settings say.
    Default,
    Never,
    For(Duration),
}

/// What a token shall be bound to.
#[derive(Debug, Clone)]
pub enum RequestedBinding {
    None,
    Package(Ecosystem, PackageName),
    /// By slug.
    Repository(String),
}

/// A new token; the secret is shown this once.
#[derive(Debug, Clone)]
pub struct IssuedToken {
    pub secret: Token,
    pub listed: ListedToken,
}

/// Words in a scope list that are none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnknownScopes {
    /// Position in the list and the word, cut short.
    pub words: Vec<(usize, String)>,
}

/// Reads a scope list and finds everything in it that is no scope.
pub fn parse_scopes<T: AsRef<str>>(words: &[T]) -> Result<ScopeSet, UnknownScopes> {
    let mut unknown = Vec::new();
    let scopes = words
        .iter()
        .enumerate()
        .filter_map(|(position, word)| {
            let word = word.as_ref();
            word.parse::<Scope>()
                .inspect_err(|_| unknown.push((position, word.chars().take(64).filter(|c| !c.is_control()).collect())))
                .ok()
        })
        .collect();
    if unknown.is_empty() { Ok(scopes) } else { Err(UnknownScopes { words: unknown }) }
}

impl Identity {
    /// Issues a token to the caller.
    ///
    /// # Errors
    /// `NotGrantable` for scopes the caller, the creating token or the kind may not carry;
    /// `NotFound` for a binding the caller may not read; `Invalid` for anything else in the request;
    /// `Unsupported` for organization tokens.
    pub async fn create_token(
        &self,
        who: &Principal,
        request: TokenRequest,
        origin: &ClientOrigin,
    ) -> Result<IssuedToken, IdentityError> {
        require_scope(who, Scope::TokensWrite)?;
        let problems = request_problems(&request);
        if !problems.is_empty() {
            return Err(IdentityError::Invalid(problems));
        }
        let user = self.own_account(who).await?;
        let creator = self.creator_limits(who, request.scopes).await?;
        let owner = match &request.organization {
            Some(wanted) => TokenOwner::Organization {
                id: self.organization_for_tokens(who, Operation::ManageOrgTokens, &wanted.slug).await?,
                slug: wanted.slug.clone(),
                role: wanted.role,
            },
            None => TokenOwner::User(user.id),
        };
        let binding = self.resolve(who, &request.binding).await?;
        self.require_grantable(&request, &user, Some(creator.scopes))?;
        let now = self.now();
        let expires_at = self.expiry(&request, creator.expires_at, now)?;
        let entry = AuditEntry::by(who, AuditAction::TokenCreate).from_client(origin);
        self.insert_token(owner, request, binding, expires_at, entry, now).await
    }

    /// The organization of that name, for whoever may do that to its tokens.
    ///
    /// # Errors
    /// `NotFound`; `Denied` for everybody but its owners and admins.
    pub(super) async fn organization_for_tokens(
        &self,
        who: &Principal,
        operation: Operation,
        slug: &str,
    ) -> Result<OrgId, RegistryError> {
        let org = self.0.db.organization_by_slug(slug).await?.ok_or(RegistryError::NotFound)?;
        let access = self.0.db.organization_access(org.id, who).await?.ok_or(RegistryError::NotFound)?;
        allow(who, operation, Resource::Organization(&access))?;
        Ok(org.id)
    }

    /// Issues a personal token to a person who just proved their password, as `npm login` does.
    ///
    /// # Errors
    /// Those of [`Identity::login`].
    pub async fn login_for_token(
        &self,
        login: &str,
        proof: impl Into<PasswordProof<'_>>,
        name: &str,
        scopes: ScopeSet,
        lifetime: Lifetime,
        origin: &ClientOrigin,
    ) -> Result<IssuedToken, IdentityError> {
        let account = self.verify_password(login, proof.into(), origin).await?;
        let request = personal(name, scopes, lifetime);
        self.require_grantable(&request, &account.user, None)?;
        let now = self.now();
        let expires_at = self.expiry(&request, None, now)?;
        let mut entry = AuditEntry::system(AuditAction::TokenCreate).with("source", "login").from_client(origin);
        entry.actor_user = Some(account.user.id);
        self.insert_token(TokenOwner::Proven(Box::new(account)), request, None, expires_at, entry, now).await
    }

    /// Checks the password once more, for changes that a stolen token alone must not make.
    ///
    /// # Errors
    /// Those of [`Identity::login`].
    pub async fn prove_password(
        &self,
        login: &str,
        proof: impl Into<PasswordProof<'_>>,
        origin: &ClientOrigin,
    ) -> Result<(), IdentityError> {
        self.verify_password(login, proof.into(), origin).await.map(drop)
    }

    /// Issues a personal token for an operator at the command line.
    pub async fn create_token_for(
        &self,
        username: &str,
        name: &str,
        scopes: ScopeSet,
        lifetime: Lifetime,
    ) -> Result<IssuedToken, IdentityError> {
        let user = self.any_user(username).await?;
        let request = personal(name, scopes, lifetime);
        self.require_grantable(&request, &user, None)?;
        let now = self.now();
        let expires_at = self.expiry(&request, None, now)?;
        let entry = AuditEntry::system(AuditAction::TokenCreate).with("source", "cli");
        self.insert_token(TokenOwner::User(user.id), request, None, expires_at, entry, now).await
    }

    /// What the creating credential itself may do and for how long.
    async fn creator_limits(&self, who: &Principal, scopes: ScopeSet) -> Result<CreatorLimits, IdentityError> {
        match who.credential {
            Credential::Token(id, TokenKind::Personal) if who.binding.is_none() => {
                let row = self.0.db.token(id).await?.ok_or(RegistryError::NotFound)?;
                Ok(CreatorLimits { scopes: who.scopes, expires_at: row.token.expires_at })
            }
            Credential::Token(..) => {
                Err(IdentityError::NotGrantable { scopes, why: "this kind of token cannot create tokens" })
            }
            _ => Ok(CreatorLimits { scopes: who.scopes, expires_at: None }),
        }
    }

    async fn resolve(&self, who: &Principal, binding: &RequestedBinding) -> Result<Option<Binding>, IdentityError> {
        let (decision, binding) = match binding {
            RequestedBinding::None => return Ok(None),
            RequestedBinding::Package(ecosystem, name) => {
                let head = self.0.db.package_head(*ecosystem, name.canonical()).await?;
                let head = head.filter(|head| !head.is_deleted).ok_or(RegistryError::NotFound)?;
                let relation = self.0.db.relation(&head, who).await?;
                let access = head.access(relation);
                (decide(who, Operation::Read, Resource::Package(&access)), Binding::Package(head.id))
            }
            RequestedBinding::Repository(slug) => {
                let row = self.0.db.repository_by_slug(slug).await?.ok_or(RegistryError::NotFound)?;
                let relation = self.0.db.repository_relation(row.id, row.owner(), who).await?;
                let access = row.access(relation);
                (decide(who, Operation::Read, Resource::Repository(&access)), Binding::Repository(row.id))
            }
        };
        if decision == Decision::Allow { Ok(Some(binding)) } else { Err(RegistryError::NotFound.into()) }
    }

    /// Refuses scopes beyond the account, the creating credential or the kind.
    pub(super) fn require_grantable(
        &self,
        request: &TokenRequest,
        user: &UserRow,
        creator: Option<ScopeSet>,
    ) -> Result<(), IdentityError> {
        let account = session_scopes(user);
        let excess: ScopeSet = request
            .scopes
            .iter()
            .filter(|scope| {
                !account.contains(*scope)
                    || creator.is_some_and(|creator| !creator.allows(*scope))
                    || !kind_allows(request.kind, *scope)
            })
            .collect();
        if excess.is_empty() {
            Ok(())
        } else {
            Err(IdentityError::NotGrantable {
                scopes: excess,
                why: "the account, the credential or the kind does not carry them",
            })
        }
    }

    /// When the token ends; a default never outlives the creating token, a wish for more is refused.
    pub(super) fn expiry(
        &self,
        request: &TokenRequest,
        creator_expires_at: Option<Timestamp>,
        now: Timestamp,
    ) -> Result<Option<Timestamp>, IdentityError> {
        let short = matches!(request.kind, TokenKind::Ci | TokenKind::Publish);
        let max = if short {
            Some(self.0.settings.token_max_ttl.map_or(SHORT_MAX, |max| max.min(SHORT_MAX)))
        } else {
            self.0.settings.token_max_ttl
        };
        let default = if short { Some(SHORT_DEFAULT) } else { self.0.settings.token_default_ttl };
        let (wish, is_explicit) = match request.lifetime {
            Lifetime::Default => (shorter(default, max), false),
            Lifetime::Never => (None, true),
            Lifetime::For(life) => (Some(life), true),
        };
        if let Some(max) = max
            && wish.is_none_or(|life| life > max)
        {
            let message = format!("must not be later than {} seconds from now", max.as_secs());
            return Err(RuleBreak::invalid("expires_in_days", message).into());
        }
        let expires_at = wish.map(|life| now + life);
        match creator_expires_at {
            Some(limit) if expires_at.is_none_or(|at| at > limit) && is_explicit => Err(IdentityError::NotGrantable {
                scopes: request.scopes,
                why: "the new token would outlive the token that creates it",
            }),
            Some(limit) => Ok(Some(expires_at.map_or(limit, |at| at.min(limit)))),
            None => Ok(expires_at),
        }
    }

    pub(super) async fn insert_token(
        &self,
        owner: TokenOwner,
        request: TokenRequest,
        binding: Option<Binding>,
        expires_at: Option<Timestamp>,
        entry: AuditEntry,
        now: Timestamp,
    ) -> Result<IssuedToken, IdentityError> {
        let problems = request_problems(&request);
        if !problems.is_empty() {
            return Err(IdentityError::Invalid(problems));
        }
        let minted = Token::mint();
        let (user_id, proof, organization) = match owner {
            TokenOwner::User(user) => (Some(user), None, None),
            TokenOwner::Proven(login) => (Some(login.user.id), Some(login), None),
            TokenOwner::Organization { id, slug, role } => (None, None, Some((id, slug, role))),
        };
        let row = TokenRow {
            id: TokenId::new(),
            kind: request.kind,
            name: request.name.trim().to_owned(),
            last_four: minted.last_four,
            scopes: request.scopes,
            user_id,
            org_id: organization.as_ref().map(|(id, ..)| *id),
            role: organization.as_ref().map(|(.., role)| *role),
            repository_id: match binding {
                Some(Binding::Repository(id)) => Some(id),
                _ => None,
            },
            package_id: match binding {
                Some(Binding::Package(id)) => Some(id),
                _ => None,
            },
            expires_at,
            last_used_at: None,
            used_up_at: None,
            revoked_at: None,
            created_at: now,
        };
        let mut entry = entry
            .org(row.org_id)
            .with("token_id", row.id.to_string())
            .with("kind", row.kind.as_str())
            .with("name", row.name.as_str())
            .with("scopes", row.scopes.words());
        entry.target_user = user_id;
        entry.target_package = row.package_id;
        if let Some(role) = row.role {
            entry = entry.with("role", role.as_str());
        }
        let mut tx = self.0.db.begin().await?;
        if let Some(login) = &proof {
            self.require_still_proven(&mut tx, login).await?;
        }
        tx.insert_token(&row, minted.hash.as_bytes()).await?;
        tx.commit_audited(&entry, now).await?;
        let (repository_slug, package) = match request.binding {
            RequestedBinding::None => (None, None),
            RequestedBinding::Package(ecosystem, name) => (None, Some((ecosystem, name.display().to_owned()))),
            RequestedBinding::Repository(slug) => (Some(slug), None),
        };
        let org_slug = organization.map(|(_, slug, _)| slug);
        Ok(IssuedToken { secret: minted.token, listed: ListedToken { token: row, org_slug, repository_slug, package } })
    }
}

struct CreatorLimits {
    scopes: ScopeSet,
    expires_at: Option<Timestamp>,
}

pub(super) fn personal(name: &str, scopes: ScopeSet, lifetime: Lifetime) -> TokenRequest {
    TokenRequest {
        name: name.to_owned(),
        kind: TokenKind::Personal,
        scopes,
        lifetime,
        binding: RequestedBinding::None,
        organization: None,
    }
}

/// The column "allowed scopes" of access.md §5.
fn kind_allows(kind: TokenKind, scope: Scope) -> bool {
    use Scope::*;
    match kind {
        TokenKind::Personal => true,
        TokenKind::Ci => !matches!(
            scope,
            TokensRead
                | TokensWrite
                | OrgsRead
                | OrgsWrite
                | OrgsJoin
                | OrgsTransfer
                | NamespacesTransfer
                | RepositoriesTransfer
                | PackagesTransfer
                | AuditRead
                | AdminWrite
        ),
        TokenKind::Publish | TokenKind::OidcDerived => scope == PackagesPublish,
        TokenKind::Package => matches!(scope, PackagesRead | PackagesPublish | PackagesWrite | SecurityWrite),
        TokenKind::Repository => {
            matches!(scope, PackagesRead | PackagesPublish | PackagesWrite | SecurityWrite | RepositoriesWrite)
        }
        TokenKind::OrgAutomation => {
            matches!(scope, PackagesRead | PackagesPublish | PackagesWrite | SecurityWrite | OrgsRead)
        }
    }
}

/// Everything about a request that is wrong whoever asks.
pub(super) fn request_problems(request: &TokenRequest) -> Vec<RuleBreak> {
    let mut problems = Vec::new();
    let name = request.name.trim();
    if name.is_empty() || name.chars().count() > MAX_NAME_CHARS || name.chars().any(char::is_control) {
        problems.push(RuleBreak::invalid("name", format!("must be one line of 1 to {MAX_NAME_CHARS} characters")));
    }
    if request.scopes.is_empty() {
        problems.push(RuleBreak::invalid("scopes", "must name at least one scope"));
    }
    if matches!(request.lifetime, Lifetime::For(Duration::ZERO)) {
        problems.push(RuleBreak::invalid("expires_in_seconds", "must be at least 1"));
    }
    match (request.kind, &request.binding) {
        (TokenKind::Package, RequestedBinding::Package(..))
        | (TokenKind::Repository, RequestedBinding::Repository(_))
        | (TokenKind::Publish, _)
        | (TokenKind::Personal | TokenKind::Ci | TokenKind::OrgAutomation, RequestedBinding::None) => {}
        (TokenKind::Package, _) => problems.push(RuleBreak::invalid("package", "must name the package")),
        (TokenKind::Repository, _) => problems.push(RuleBreak::invalid("repository_slug", "must name the repository")),
        (TokenKind::Personal | TokenKind::Ci | TokenKind::OrgAutomation, RequestedBinding::Package(..)) => {
            problems.push(RuleBreak::invalid("package", "is not for tokens of this kind"));
        }
        (TokenKind::Personal | TokenKind::Ci | TokenKind::OrgAutomation, RequestedBinding::Repository(_)) => {
            problems.push(RuleBreak::invalid("repository_slug", "is not for tokens of this kind"));
        }
        (TokenKind::OidcDerived, _) => problems.push(RuleBreak::invalid("kind", "cannot be created here")),
    }
    match (&request.organization, request.kind) {
        (None, TokenKind::OrgAutomation) => {
            problems.push(RuleBreak::invalid("org_slug", "must name the organization"));
        }
        (Some(wanted), TokenKind::OrgAutomation) if !AUTOMATION_ROLES.contains(&wanted.role) => {
            problems.push(RuleBreak::invalid("role", "is not a role that automation may have"));
        }
        (Some(_), kind) if kind != TokenKind::OrgAutomation => {
            problems.push(RuleBreak::invalid("org_slug", "is only for tokens of kind org_automation"));
        }
        _ => {}
    }
    problems
}

fn shorter(a: Option<Duration>, b: Option<Duration>) -> Option<Duration> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (one, other) => one.or(other),
    }
}
