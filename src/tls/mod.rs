//! TLS on our own listeners, what they show and whom they let in; and whom we trust when we
//! connect to others.
//!
//! rustls over aws-lc, TLS 1.3 and 1.2. A listener's files are read again when their
//! content changes; what can't be used as a whole changes nothing. Sessions are never
//! resumed: a resumed one would skip looking at the client's certificate, and the proxies
//! that connect here keep their connections.

mod authorities;
mod clients;
mod error;
mod facts;
mod files;
mod live;
mod offer;
mod pinned;
mod settings;

pub use authorities::Authorities;
pub use clients::ClientName;
pub use error::{TlsError, TlsFile};
pub use facts::{CertificateFacts, CertificateState};
pub use live::{ServerTls, TlsStatus};
pub use offer::Protocol;
pub use settings::TlsSettings;
