//! What a credential's files, Entra and an identity service can have wrong.

use std::fs;

use base64::engine::general_purpose::STANDARD;
use devtenant::authority::Authority;
use devtenant::certificate::Certificate;
use tokio::time::advance;

use super::*;
use crate::entra::graph::fake::{Answers, answer};

const TENANT: &str = "11111111-2222-3333-4444-555555555555";
const APP: &str = "eeeeeeee-0000-0000-0000-000000000001";

fn address(text: &str) -> Url {
    text.parse().expect("an address")
}

fn client() -> ClientId {
    APP.parse().expect("an id")
}

fn audience(url: &Url) -> Audience<'_> {
    Audience { tenant: TENANT.parse().expect("an id"), authority: url, graph: url }
}

fn given(token: &str, seconds: u64) -> (u16, Value) {
    (200, json!({ "access_token": token, "expires_in": seconds }))
}

#[test]
fn what_entra_refuses_comes_with_what_helps() {
    for (code, helps) in [
        (7_000_215, "its value is needed, not its id"),
        (7_000_222, "the secret has expired"),
        (700_016, "the application is not in this tenant"),
        (90_002, "the tenant does not exist"),
        (700_027, "the certificate is not registered"),
        (700_024, "check this machine's clock"),
        (700_213, "no federated credential"),
        (70_021, "no federated credential"),
        (500_011, "microsoft graph is not in this tenant"),
        (65_001, "an administrator has to consent"),
    ] {
        let described = format!("AADSTS{code}: no.\r\nTrace ID: 1");
        for body in [
            json!({ "error": "invalid_client", "error_codes": [code], "error_description": "no" }),
            json!({ "error": "invalid_client", "error_description": described }),
        ] {
            let said = refusal(StatusCode::UNAUTHORIZED, &body).to_string();
            let begin = "entra refused the credential (401, invalid_client): ";
            assert!(said.starts_with(begin), "{said}");
            let help = said.split_once("; ").expect("it helps").1;
            assert!(help.contains(helps), "{code}: {said}");
            assert!(!said.contains("Trace"), "{said}");
        }
    }
    for body in [
        json!({ "error": "server_error", "error_codes": [1] }),
        json!({ "error": "server_error", "error_codes": ["7000215"] }),
    ] {
        let said = refusal(StatusCode::BAD_REQUEST, &body).to_string();
        assert_eq!(said, "entra refused the credential (400, server_error)");
    }
}

#[test]
fn an_answer_without_a_token_is_none() {
    let url = address("http://169.254.169.254/token?client_id=secret");
    for (body, cause) in [
        (json!({ "expires_in": 60 }), "no `access_token`"),
        (json!({ "access_token": "", "expires_in": 60 }), "no `access_token`"),
        (json!("access_token"), "no `access_token`"),
        (
            json!({ "access_token": "a\nb", "expires_in": 60 }),
            "`access_token` holds what no header can",
        ),
        (json!({ "access_token": "a" }), "no `expires_in`"),
        (json!({ "access_token": "a", "expires_in": true }), "no `expires_in`"),
        (json!({ "access_token": "a", "expires_in": "soon" }), "no `expires_in`"),
        // Nobody lends one for longer than a week, nor for a time that is over.
        (json!({ "access_token": "a", "expires_in": 604_801 }), "no `expires_in`"),
        (json!({ "access_token": "a", "expires_on": 1 }), "no `expires_in`"),
    ] {
        let error = token(&url, &answer(200, &body), Instant::now()).expect_err("no token");
        // Without the query.
        let expected = format!("`http://169.254.169.254/token` sent no token: {cause}");
        assert_eq!(error.to_string(), expected, "{body}");
    }
}

#[test]
fn what_the_files_of_a_credential_must_hold() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("credential");
    let shown = file.display().to_string();
    let secret =
        Credential::new(CredentialSettings::Secret { client: client(), file: file.clone() });
    let proof = || secret.proof(&address("https://login.example.com"));
    assert!(proof().expect_err("no file").to_string().starts_with(&format!("`{shown}`: ")));
    fs::write(&file, " \n").expect("written");
    assert_eq!(proof().expect_err("nothing").to_string(), format!("`{shown}`: it is empty"));

    let signed = || {
        let endpoint = address("https://login.example.com");
        signed_assertion(client(), &file, &endpoint).map_err(|error| error.to_string())
    };
    let rsa = Certificate::generate("stagedoor").expect("a certificate");
    let (good, key) = (rsa.cert_pem(), rsa.key_pem());
    let authority = Authority::new("Contoso").expect("an authority");
    let elliptic = authority.issue(&["a.example.com"]).expect("issued").key;
    let block = |label: &str, body: &str| {
        format!("-----BEGIN {label}-----\n{body}\n-----END {label}-----\n")
    };
    for (text, cause) in [
        (key.clone(), "it holds no certificate"),
        (format!("{}{key}", block("CERTIFICATE", "?")), "the certificate is no PEM"),
        (good.clone(), "it holds no private key in PEM"),
        (format!("{good}{}", block("EC PRIVATE KEY", "AAAA")), "the private key is no RSA key"),
        (format!("{good}{elliptic}"), "the private key is no RSA key that can be used"),
        (
            format!("{good}{}", block("RSA PRIVATE KEY", "AAAA")),
            "the private key is no RSA key that can be used",
        ),
    ] {
        fs::write(&file, text).expect("written");
        assert_eq!(signed().expect_err(cause), format!("`{shown}`: {cause}"));
    }
    // The older form of a key is as good: it is what the newer one holds.
    let body: String = key.lines().filter(|line| !line.starts_with('-')).collect();
    let der = STANDARD.decode(body).expect("base64");
    let inner = der.windows(4).position(|window| window == [0x02, 0x01, 0x00, 0x02]);
    // Behind a version, which is zero, there is the modulus; before it the sequence's head.
    let inner = inner.expect("a key within") - 4;
    let older = block("RSA PRIVATE KEY", &STANDARD.encode(&der[inner..]));
    for key in [key, older] {
        fs::write(&file, format!("{key}{good}")).expect("written");
        let (assertion, facts) = signed().expect("signed");
        assert_eq!(assertion.split('.').count(), 3, "{assertion}");
        assert!(facts.is_some());
    }
}

/// A machine that has just started has its identity a little later.
#[tokio::test(start_paused = true)]
async fn an_identity_service_is_waited_for_a_while() {
    let url = address("http://169.254.169.254/");
    for (statuses, asked, comes) in [
        (&[404, 503][..], 3, true),
        (&[410], 2, true),
        (&[429, 500, 404], 3, false),
        // It says no.
        (&[400], 1, false),
    ] {
        let endpoint = IdentityEndpoint::Machine(url.clone());
        let credential = Credential::new(CredentialSettings::Managed { client: None, endpoint });
        let answers = Answers::of(statuses.iter().map(|status| (*status, Value::Null)));
        let (status, body) = given("t", 60);
        answers.add(status, body);
        let token = credential.token(&answers, audience(&url)).await;
        assert_eq!(answers.asked().len(), asked, "{statuses:?}");
        assert_eq!(token.is_ok(), comes, "{statuses:?}: {token:?}");
    }
}

/// A new token is asked for before the old one ends, and not again and again in vain.
#[tokio::test(start_paused = true)]
async fn an_old_token_is_used_on_while_there_is_no_new_one() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("secret");
    fs::write(&file, "secret").expect("written");
    let credential = Credential::new(CredentialSettings::Secret { client: client(), file });
    let url = address("https://login.example.com");
    let answers = Answers::of([given("first", 1000)]);
    let ask = async || {
        let token = credential.token(&answers, audience(&url)).await;
        let token = token.map(|token| token.to_str().expect("a text").to_owned());
        (token.map_err(|error| error.to_string()), answers.asked().len())
    };
    let first = || Ok("Bearer first".to_owned());
    assert_eq!(ask().await, (first(), 1));
    advance(Duration::from_secs(799)).await;
    assert_eq!(ask().await, (first(), 1), "good for long enough");
    advance(Duration::from_secs(2)).await;
    assert_eq!(ask().await, (first(), 2), "refused, and good still");
    assert_eq!(ask().await, (first(), 2), "nobody asks again at once");
    advance(Duration::from_secs(6)).await;
    assert_eq!(ask().await, (first(), 3));
    advance(Duration::from_secs(194)).await;
    let refused = "entra refused the credential (403, )".to_owned();
    assert_eq!(ask().await, (Err(refused.clone()), 4), "the old one is over");
    let paused = format!("asked in vain less than five seconds ago: {refused}");
    answers.add(200, given("second", 1000).1);
    assert_eq!(ask().await, (Err(paused), 4));
    advance(Duration::from_secs(5)).await;
    let second = || Ok("Bearer second".to_owned());
    assert_eq!(ask().await, (second(), 5));

    // Only what was refused is forgotten: another request may have replaced it already.
    let tenant = TENANT.parse().expect("an id");
    credential.forget(tenant, &HeaderValue::from_static("Bearer first")).await;
    credential
        .forget(APP.parse().expect("an id"), &HeaderValue::from_static("Bearer second"))
        .await;
    assert_eq!(ask().await, (second(), 5));
    answers.add(200, given("third", 1000).1);
    credential.forget(tenant, &HeaderValue::from_static("Bearer second")).await;
    assert_eq!(ask().await, (Ok("Bearer third".to_owned()), 6));
}
