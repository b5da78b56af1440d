//! `publaryn admin`: accounts and tokens, beside a running server on the same database.

use std::{future::Future, time::Duration};

use publaryn_auth::{EmailAddress, NewPassword, Secret};
use publaryn_config::{Config, DataDir};
use publaryn_core::RegistryError;
use publaryn_registry::identity::{Identity, IdentityError, Lifetime, NewAccount, parse_scopes};

use crate::{
    cli::{AdminCommand, CommonArgs, PasswordArgs},
    configuration, database,
    exit::{Exit, Failure},
    password,
};

pub fn run(common: &CommonArgs, command: AdminCommand) -> Result<Exit, Failure> {
    let config = configuration::load(common, Vec::new())?;
    let rules = publaryn_api::account_rules(&config);
    match command {
        AdminCommand::CreateUser { username, email, password, admin } => {
            let username = rules.operator_username(&username).map_err(refused)?;
            let email = EmailAddress::parse(&email).map_err(refused)?;
            let new = NewAccount { username, email, password: new_password(&config, &password)? };
            with_identity(&config, async |identity| {
                let user = identity.create_user(new, admin).await?;
                println!("{}", user.id);
                Ok(())
            })
        }
        AdminCommand::SetPassword { username, password } => {
            let password = new_password(&config, &password)?;
            with_identity(&config, async |identity| {
                identity.set_password(&username, &password).await?;
                println!("the password of {username} is set, all sessions are ended");
                Ok(())
            })
        }
        AdminCommand::GrantAdmin { username, revoke } => with_identity(&config, async |identity| {
            let user = identity.set_admin(&username, !revoke).await?;
            println!("{} is {} platform administrator", user.username, if revoke { "no longer a" } else { "a" });
            Ok(())
        }),
        AdminCommand::ResetMfa { username } => with_identity(&config, async |identity| {
            identity.reset_mfa(&username).await?;
            println!("{username} has no second factor any more");
            Ok(())
        }),
        AdminCommand::CreateToken { username, name, scopes, expires_in_days } => {
            let scopes = parse_scopes(&scopes).map_err(|unknown| {
                let words: Vec<_> = unknown.words.iter().map(|(_, word)| format!("`{word}`")).collect();
                Failure::new(Exit::Usage, format!("error: --scopes: {} is no scope", words.join(", ")))
            })?;
            let lifetime = match expires_in_days {
                None => Lifetime::Default,
                Some(0) => Lifetime::Never,
                Some(days) => Lifetime::For(Duration::from_secs(u64::from(days) * 86_400)),
            };
            with_identity(&config, async |identity| {
                let issued = identity.create_token_for(&username, &name, scopes, lifetime).await?;
                println!("{}", issued.secret.expose());
                Ok(())
            })
        }
    }
}

fn new_password(config: &Config, args: &PasswordArgs) -> Result<NewPassword, Failure> {
    let text = password::read(args)?;
    publaryn_api::account_rules(config).password(Secret::new(text.expose())).map_err(refused)
}

fn with_identity<F>(config: &Config, action: impl FnOnce(Identity) -> F) -> Result<Exit, Failure>
where
    F: Future<Output = Result<(), IdentityError>>,
{
    configuration::block_on(async {
        let db = database::connect_current(config).await?;
        let identity = publaryn_api::identity(config, &DataDir::create(&config.data_dir)?, &db)?;
        let result = action(identity).await;
        db.close().await;
        result.map(|()| Exit::Success).map_err(explain)
    })
}

fn explain(error: IdentityError) -> Failure {
    match error {
        IdentityError::Registry(RegistryError::NotFound) => Failure::new(Exit::Failed, "there is no such account"),
        IdentityError::Registry(error @ RegistryError::Unavailable { .. }) => {
            Failure::new(Exit::Unreachable, "database.url: the database does not answer").because(error)
        }
        other => Failure::new(Exit::Failed, "refused").because(other),
    }
}

fn refused(problem: publaryn_auth::RuleBreak) -> Failure {
    Failure::new(Exit::Failed, format!("{}: {}", problem.field, problem.message))
}
