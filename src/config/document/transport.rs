//! TLS, both ways.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(extend("required" = ["certificate_file", "key_file"]))]
pub(in crate::config) struct Tls {
    /// The PEM file that holds the certificate, and after it those that lead to its
    /// authority; read again within seconds of a change, as the others are.
    pub(in crate::config) certificate_file: String,
    /// The PEM file that holds the certificate's private key.
    pub(in crate::config) key_file: String,
    /// The PEM file that holds the authorities of clients. With it, clients must show a
    /// certificate of one of them (mTLS).
    pub(in crate::config) client_ca_file: Option<String>,
    /// The clients that are let in, by a name in their certificates: a SPIFFE id,
    /// `spiffe://cluster.local/ns/edge/sa/envoy`, all below one, `spiffe://cluster.local/ns/edge/*`,
    /// or a DNS name. Empty is every client with a certificate.
    pub(in crate::config) clients: Vec<String>,
}

#[derive(Clone, Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(in crate::config) struct Outgoing {
    /// PEM files of authorities that are trusted beside those of the system, for key sets,
    /// Microsoft Graph, Backstage, object storage and the OTLP collector. Read at the start.
    pub(in crate::config) ca_files: Vec<String>,
}
