//! The listeners that are asked for decisions: accepting connections, bounding them, and
//! letting go.
//!
//! A server of our own instead of tonic's transport, because that one waits
//! forever for a client's preface, spins when descriptors run out and lets one
//! unresponsive peer hold up the end of the process. The service that is served
//! knows nothing of it: requests in, responses out.
//!
//! What holds for every connection:
//!
//! - it has made its TLS handshake, where there is one, and sent the HTTP/2 preface, or the head
//!   of its first HTTP/1.1 request, within a deadline, or is closed;
//! - it reads so much, and then those of its thread go on that are ready as well;
//! - something is asked on it within a minute, and before its place is needed by somebody else,
//!   or it is closed;
//! - it answers pings, where there are pings, and takes what is written to it, or is closed;
//! - it ends after about its maximum age, so that a client meets new instances;
//! - it never outlives the drain.

mod accept;
mod ahead;
mod begun;
mod connection;
mod http1;
mod listener;
mod preface;
mod secured;
mod server;
mod settings;
mod stall;
mod stats;
mod turn;
mod workers;

pub use connection::{CONNECTION_BYTES, GrpcService, Tower};
pub use http1::{HttpAnswer, HttpService};
pub(crate) use listener::listen_tcp;
pub use listener::{BindError, BoundAddress};
pub(crate) use server::descriptor_limit;
pub use server::{DrainReport, Server};
pub use settings::*;
pub use stats::ServeStats;
pub use workers::{Pulse, Unwell};
