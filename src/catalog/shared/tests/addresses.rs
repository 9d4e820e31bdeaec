//! What an address may be. No call is made: a store is asked only when it is used.

use super::*;
use crate::catalog::shared::SharedError;
use crate::catalog::shared::open::{self, azure, s3};
use crate::tls::Authorities;
use object_store::aws::AmazonS3Builder;
use object_store::azure::MicrosoftAzureBuilder;
use url::Url;

fn open(text: &str) -> Result<Arc<dyn Place>, SharedError> {
    open::open(text, &Authorities::default())
}

#[test]
fn a_folder_must_be_there() {
    let dir = TempDir::new().unwrap();
    let url = Url::from_directory_path(dir.path()).unwrap();
    open(url.as_str()).unwrap();
    let said = open(&format!("{url}missing")).unwrap_err().to_string();
    assert!(said.contains("missing`: No such file"), "{said}");
    std::fs::write(dir.path().join("file"), "").unwrap();
    let said = open(&format!("{url}file")).unwrap_err().to_string();
    assert!(said.ends_with("file`: is no folder"), "{said}");
}

#[test]
fn what_is_no_address_is_refused_without_repeating_secrets() {
    for (url, want) in [
        ("", "is no shared place"),
        ("/srv/stagedoor", "is no shared place"),
        ("memory:///x", "isn't supported"),
        ("gs://bucket/x", "isn't supported"),
        ("http://host/x", "isn't supported"),
        ("https://host/x", "isn't supported"),
        ("file://host/x", "is no shared place"),
        ("ftp://host/x", "is no shared place"),
        ("az://container/x?sig=SECRET", "belong into the environment"),
        ("https://a.blob.core.windows.net/c?sig=SECRET", "belong into the environment"),
        ("s3://key:SECRET@bucket/x", "belong into the environment"),
        ("s3://key:SECRET@[/x", "is no shared place"),
    ] {
        let said = open(url).unwrap_err().to_string();
        assert!(said.contains(want), "`{url}`: {said}");
        assert!(!said.contains("SECRET"), "{said}");
    }
}

#[test]
fn what_is_missing_for_azure_is_named() {
    let url = Url::parse("az://container/prefix").unwrap();
    let said = azure(&url, MicrosoftAzureBuilder::new()).unwrap_err().to_string();
    assert!(said.contains("Account must be specified"), "{said}");
    assert!(said.contains("set AZURE_STORAGE_ACCOUNT_NAME"), "{said}");
    for spelling in [
        "az://container/prefix",
        "azure://container/prefix",
        "abfss://container@account.dfs.core.windows.net/prefix",
        "https://account.blob.core.windows.net/container/prefix",
    ] {
        let url = Url::parse(spelling).unwrap();
        let place = azure(&url, MicrosoftAzureBuilder::new().with_account("account")).unwrap();
        let shown = format!("{place:?}");
        assert!(shown.contains("\"prefix\"") && !shown.contains("\"container/"), "{shown}");
    }
}

#[test]
fn what_is_missing_for_s3_is_named() {
    let url = Url::parse("s3://bucket/prefix").unwrap();
    s3(&url, AmazonS3Builder::new()).unwrap();
    let half = AmazonS3Builder::new().with_access_key_id("AKIA");
    let said = s3(&url, half).unwrap_err().to_string();
    assert!(said.contains("SecretAccessKey") && said.contains("AWS_SECRET_ACCESS_KEY"), "{said}");
}

#[test]
fn an_endpoint_is_https_or_on_this_machine() {
    let azure_url = Url::parse("az://container/prefix").unwrap();
    let s3_url = Url::parse("s3://bucket/prefix").unwrap();
    for (endpoint, good) in [
        ("https://minio.example:9000", true),
        ("http://127.0.0.1:9000", true),
        ("http://[::1]:9000", true),
        ("http://localhost:9000", true),
        ("http://minio.example:9000", false),
        ("http://localhost.example:9000", false),
        ("http://10.0.0.1", false),
        ("minio.example:9000", false),
        ("", false),
    ] {
        // The environment can't talk it into plain http.
        let aws = AmazonS3Builder::new().with_allow_http(true).with_endpoint(endpoint);
        assert_eq!(s3(&s3_url, aws).is_ok(), good, "s3 {endpoint}");
        let builder = MicrosoftAzureBuilder::new()
            .with_account("account")
            .with_allow_http(true)
            .with_endpoint(endpoint.to_owned());
        assert_eq!(azure(&azure_url, builder).is_ok(), good, "azure {endpoint}");
    }
}
