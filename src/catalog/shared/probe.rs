//! Trying whether a store keeps conditions on writes.
//!
//! There are stores that speak S3, take `If-Match`, and write all the same. There
//! each replica would believe that it leads. So before a replica leads, it tries on
//! an object that holds nothing.

use bytes::Bytes;
use uuid::Uuid;

use super::error::SharedError;
use super::place::{Expect, Object, Written};
use super::store::SharedStore;

impl SharedStore {
    /// Shows that a write whose condition doesn't hold doesn't happen.
    ///
    /// # Errors
    /// It happens, or the store can't be asked.
    pub(super) async fn prove(&self) -> Result<(), SharedError> {
        if self.is_proved() {
            return Ok(());
        }
        let Written::As(first) = self.try_write(Expect::Anything).await? else {
            return Err(refused());
        };
        let Written::As(_) = self.try_write(Expect::Anything).await? else {
            return Err(refused());
        };
        // It is there, so it can't be made; it isn't the first one any more, whoever
        // else is trying.
        if self.try_write(Expect::Absent).await? != Written::Conflict {
            return Err(SharedError::Unconditional { condition: "if-none-match" });
        }
        if self.try_write(Expect::Is(first)).await? != Written::Conflict {
            return Err(SharedError::Unconditional { condition: "if-match" });
        }
        Ok(())
    }

    async fn try_write(&self, expect: Expect) -> Result<Written, SharedError> {
        let stamp = Bytes::copy_from_slice(Uuid::now_v7().as_bytes());
        self.write(Object::Probe, vec![stamp], expect).await
    }
}

fn refused() -> SharedError {
    SharedError::Store {
        object: Object::Probe.name(),
        cause: "a write without a condition met a conflict".to_owned(),
    }
}
