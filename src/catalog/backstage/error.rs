//! Why a crawl gave no entities, told apart.

use std::path::PathBuf;
use std::time::Duration;

use http::StatusCode;
use url::Url;

use crate::fetch::FetchError;

/// Why a crawl gave no entities.
#[derive(Debug, thiserror::Error)]
pub enum CrawlError {
    /// The credential's file.
    #[error("the token file `{path}`: {cause}")]
    Token {
        /// Which.
        path: PathBuf,
        /// What is wrong with it.
        cause: String,
    },
    /// 401.
    #[error(
        "Backstage does not accept the token (401): compare the token file with `backend.auth.externalAccess`"
    )]
    Unauthorized,
    /// 403.
    #[error(
        "Backstage restricts the token (403): it needs plugin `catalog` and permission `catalog.entity.read`"
    )]
    Forbidden,
    /// 404.
    #[error("there is no catalog at `{0}` (404): Backstage is starting, or the address is another")]
    NotFound(Url),
    /// 503.
    #[error("Backstage is starting or overloaded (503)")]
    Unavailable,
    /// 429.
    #[error("Backstage limits the rate of requests (429)")]
    RateLimited,
    /// 200, and nothing.
    #[error(
        "Backstage answers 200 with no entities: it is starting, or the token's `accessRestrictions` lack the permission `catalog.entity.read`"
    )]
    Empty,
    /// Anything else that went wrong with the exchange.
    #[error(transparent)]
    Fetch(#[from] FetchError),
    /// The answer ends in the middle.
    #[error("page {page} is cut off after {bytes} bytes: Backstage failed while it answered")]
    CutOff {
        /// Which page, from 1.
        page: usize,
        /// How much came.
        bytes: usize,
    },
    /// The answer is not what the API gives.
    #[error("page {page} is no answer of the catalog API: {cause}")]
    Form {
        /// Which page, from 1.
        page: usize,
        /// What is wrong with it.
        cause: String,
    },
    /// The pages don't fit together; entities came or went during the crawl.
    #[error("{got} entities came, {announced} were announced")]
    Inconsistent {
        /// Entities that came.
        got: usize,
        /// `totalItems`.
        announced: usize,
    },
    /// Entities came twice, so others can have been missed.
    #[error("{0} entities came more than once")]
    Repeated(usize),
    /// The whole took too long.
    #[error("the crawl did not end within {0:?}")]
    Timeout(Duration),
    /// The pages never end.
    #[error("the crawl did not end after {0} pages")]
    Endless(usize),
    /// Reading a page panicked.
    #[error("a page could not be read: {0}")]
    Join(#[from] tokio::task::JoinError),
}

impl CrawlError {
    /// Whether smaller pages would do.
    pub(super) fn is_too_large(&self) -> bool {
        matches!(self, Self::Fetch(FetchError::TooLarge { .. }))
    }

    /// Its stable code, for metrics and status.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Token { .. } => "token_file",
            Self::Unauthorized => "unauthorized",
            Self::Forbidden => "forbidden",
            Self::NotFound(_) => "not_found",
            Self::Unavailable => "unavailable",
            Self::RateLimited => "rate_limited",
            Self::Empty => "empty",
            Self::Fetch(FetchError::Timeout { .. }) => "slow",
            Self::Fetch(FetchError::NotJson { .. }) => "content_type",
            Self::Fetch(FetchError::TooLarge { .. }) => "too_large",
            Self::Fetch(FetchError::Status { .. }) => "status",
            Self::Fetch(FetchError::Transport { .. } | FetchError::Insecure(_)) => "unreachable",
            Self::CutOff { .. } => "cut_off",
            Self::Form { .. } => "form",
            Self::Inconsistent { .. } => "inconsistent",
            Self::Repeated(_) => "repeated",
            Self::Timeout(_) => "timeout",
            Self::Endless(_) => "endless",
            Self::Join(_) => "internal",
        }
    }

    /// What an answer's status means.
    pub(super) fn of_status(status: StatusCode, url: &Url, base: &Url) -> Self {
        match status {
            StatusCode::UNAUTHORIZED => Self::Unauthorized,
            StatusCode::FORBIDDEN => Self::Forbidden,
            StatusCode::NOT_FOUND => Self::NotFound(base.clone()),
            StatusCode::SERVICE_UNAVAILABLE => Self::Unavailable,
            StatusCode::TOO_MANY_REQUESTS => Self::RateLimited,
            status => Self::Fetch(FetchError::Status { url: url.clone(), status }),
        }
    }

    /// Whether the same request can go well a moment later. Not what a person has to mend,
    /// and not a whole crawl's own trouble.
    pub(super) fn is_passing(&self) -> bool {
        match self {
            Self::Unavailable | Self::RateLimited | Self::CutOff { .. } => true,
            Self::Fetch(FetchError::Status { status, .. }) => status.is_server_error(),
            Self::Fetch(FetchError::Timeout { .. } | FetchError::Transport { .. }) => true,
            _ => false,
        }
    }

    /// Whether the crawl is to be repeated: the catalog changed while it went on.
    pub(super) fn is_drift(&self) -> bool {
        matches!(self, Self::Inconsistent { .. } | Self::Repeated(_))
    }
}
