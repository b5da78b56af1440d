//! Accounts with a second factor: whoever proves the password is asked for a code, too.
//!
//! There are no enrolment routes yet, so the test enrols with a database shell.

use publaryn_auth::totp::TotpSecret;
use publaryn_core::Timestamp;
use serde_json::json;

use super::{Client, Desk};
use crate::{Server, on_backends};

const SECRET: &str = "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ";

on_backends!(a_second_factor_is_asked_for_and_accepted_once, async |server: Server| {
    let user = server.new_user("ada").await;
    let enrol = format!("UPDATE users SET totp_enabled_at = 1, totp_secret = '{SECRET}' WHERE username = 'ada'");
    server.database().await.execute_raw(&enrol).await.unwrap();
    let secret = TotpSecret::from_base32(SECRET).unwrap();
    // A step ahead is tolerated, so two codes are good at any moment.
    let now = Timestamp::now();
    let (code, next) = (secret.code_at(now), secret.code_at(now + std::time::Duration::from_secs(30)));
    let desk = Desk::new(&server, "otp", Some(&user.token));
    let password = format!("--password={}", user.password);
    let create = ["token", "create", "--name=x", password.as_str()];
    desk.run(Client::Npm11, desk.home(), &create).await.fails().says("EOTP");
    desk.run(Client::Npm11, desk.home(), &[&create[..], &["--otp=000000"]].concat()).await.fails().says("EOTP");
    let with_code = format!("--otp={code}");
    desk.run(Client::Npm11, desk.home(), &[&create[..], &[with_code.as_str()]].concat()).await.ok().says("pub_");
    desk.run(Client::Npm11, desk.home(), &[&create[..], &[with_code.as_str()]].concat()).await.fails().says("EOTP");

    let answers = [("Username:", "ada"), ("Password:", &*user.password), ("OTP:", &next)];
    desk.configure(None, None);
    let login = ["login", "--auth-type=legacy"];
    desk.type_into(Client::Npm10, desk.home(), &login, &answers).await.ok().says("Logged in");

    // The token was made with the second factor; what is done with it asks for no other.
    let dir = desk.package(&json!({ "name": "guarded", "version": "1.0.0" }));
    desk.run(Client::Npm10, &dir, &["publish"]).await.ok();
    desk.run(Client::Npm10, desk.home(), &["profile", "get"]).await.ok().says("auth-and-writes");

    // The challenge itself: the only one npm may be sent.
    let body = json!({ "name": "ada", "password": user.password, "type": "user", "roles": [] });
    let url = format!("{}/npm/-/user/org.couchdb.user:ada", server.base_url());
    let challenge = server.http.put(url).json(&body).send().await.unwrap();
    assert_eq!(challenge.status().as_u16(), 401);
    assert_eq!(challenge.headers()["www-authenticate"], "OTP");
    assert!(challenge.text().await.unwrap().contains("one-time pass"));
});
