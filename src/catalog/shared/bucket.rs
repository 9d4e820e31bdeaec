//! A bucket or container as the shared place.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use futures_util::future::BoxFuture;
use futures_util::{FutureExt as _, StreamExt as _};
use object_store::path::Path;
use object_store::{
    Error, GetOptions, GetRange, ObjectStore, PutMode, PutOptions, PutPayload, UpdateVersion,
};
use tokio::time::timeout;

use super::error::{SharedError, cause};
use super::place::{Ask, ETag, Expect, Object, Place, Read, Written};

/// A store and where in it.
#[derive(Clone, Debug)]
pub(super) struct Bucket {
    store: Arc<dyn ObjectStore>,
    prefix: Path,
}

impl Bucket {
    pub(super) fn new(store: Arc<dyn ObjectStore>, prefix: Path) -> Self {
        Self { store, prefix }
    }

    fn path(&self, object: Object) -> Path {
        self.prefix.clone().join(object.name())
    }

    async fn get(&self, object: Object, ask: Ask) -> Result<Read, SharedError> {
        let path = self.path(object);
        let whole = GetOptions {
            if_none_match: ask.unless.map(|etag| etag.as_str().to_owned()),
            ..GetOptions::default()
        };
        let range = ask.head.map(|count| GetRange::Bounded(0..count));
        let options = GetOptions { range, ..whole.clone() };
        let got = async {
            match self.store.get_opts(&path, options).await {
                Err(e) if ask.head.is_some() && is_beyond_end(&e) => {
                    self.store.get_opts(&path, whole).await
                }
                got => got,
            }
        };
        let silent = |_| SharedError::Timeout { object: object.name(), after: ask.patience };
        let got = match timeout(ask.patience, got).await.map_err(silent)? {
            Ok(got) => got,
            Err(Error::NotModified { .. }) => return Ok(Read::Unchanged),
            // A missing bucket is a mistake in the configuration, not an empty one.
            Err(Error::NotFound { source, .. }) if !is_missing_bucket(&source) => {
                return Ok(Read::Absent);
            }
            Err(e) => return Err(failed(object, &e)),
        };
        let Some(etag) = got.meta.e_tag.clone() else {
            return Err(SharedError::NoETag { object: object.name() });
        };
        let size = got.range.end.saturating_sub(got.range.start);
        let too_large =
            |size| SharedError::TooLarge { object: object.name(), size, limit: ask.limit };
        if size > ask.limit {
            return Err(too_large(size));
        }
        let mut body = BytesMut::with_capacity(usize::try_from(size).unwrap_or(0));
        let mut stream = got.into_stream();
        while let Some(chunk) = timeout(ask.patience, stream.next()).await.map_err(silent)? {
            let chunk = chunk.map_err(|e| failed(object, &e))?;
            // The size was the store's word.
            let size = (body.len() as u64).saturating_add(chunk.len() as u64);
            if size > ask.limit {
                return Err(too_large(size));
            }
            body.extend_from_slice(&chunk);
        }
        Ok(Read::Found { etag: ETag::new(etag), bytes: body.freeze() })
    }

    async fn put(
        &self,
        object: Object,
        parts: Vec<Bytes>,
        expect: Expect,
    ) -> Result<Written, SharedError> {
        let mode = match expect {
            Expect::Absent => PutMode::Create,
            Expect::Is(etag) => PutMode::Update(UpdateVersion {
                e_tag: Some(etag.as_str().to_owned()),
                version: None,
            }),
            Expect::Anything => PutMode::Overwrite,
        };
        let payload: PutPayload = parts.into_iter().collect();
        let options = PutOptions::from(mode);
        match self.store.put_opts(&self.path(object), payload, options).await {
            Ok(put) => match put.e_tag {
                Some(etag) => Ok(Written::As(ETag::new(etag))),
                None => Err(SharedError::NoETag { object: object.name() }),
            },
            Err(
                Error::AlreadyExists { .. }
                | Error::Precondition { .. }
                | Error::NotModified { .. },
            ) => Ok(Written::Conflict),
            Err(e) => Err(failed(object, &e)),
        }
    }
}

impl Place for Bucket {
    fn read(&self, object: Object, ask: Ask) -> BoxFuture<'_, Result<Read, SharedError>> {
        self.get(object, ask).boxed()
    }

    fn write(
        &self,
        object: Object,
        parts: Vec<Bytes>,
        expect: Expect,
    ) -> BoxFuture<'_, Result<Written, SharedError>> {
        self.put(object, parts, expect).boxed()
    }

    fn is_proved(&self) -> bool {
        false
    }
}

/// Azure's and S3's codes for it, which come with the same 404 as a missing object.
fn is_missing_bucket(source: &dyn std::fmt::Display) -> bool {
    let said = source.to_string();
    said.contains("ContainerNotFound") || said.contains("NoSuchBucket")
}

/// An empty object has no beginning to be asked for.
fn is_beyond_end(error: &Error) -> bool {
    error.to_string().contains("416 Range Not Satisfiable")
}

fn failed(object: Object, error: &Error) -> SharedError {
    SharedError::Store { object: object.name(), cause: cause(error) }
}
