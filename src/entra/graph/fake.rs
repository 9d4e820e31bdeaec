//! An exchange whose answers a test chooses.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

use http::{HeaderMap, StatusCode};
use serde_json::Value;

use crate::fetch::{Exchange, FetchError, Incoming, Limits, Outgoing};

/// Gives its answers in turn, and then refuses.
#[derive(Default)]
pub(super) struct Answers {
    left: Mutex<VecDeque<(u16, Value)>>,
    asked: Mutex<Vec<String>>,
}

impl Answers {
    pub(super) fn of(answers: impl IntoIterator<Item = (u16, Value)>) -> Self {
        Self { left: Mutex::new(answers.into_iter().collect()), asked: Mutex::default() }
    }

    pub(super) fn add(&self, status: u16, body: Value) {
        self.left.lock().unwrap_or_else(PoisonError::into_inner).push_back((status, body));
    }

    /// The addresses that were asked.
    pub(super) fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Exchange for Answers {
    async fn exchange(&self, request: Outgoing<'_>, _: Limits) -> Result<Incoming, FetchError> {
        let mut asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        asked.push(request.url.to_string());
        let next = self.left.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
        let (status, body) = next.unwrap_or((403, Value::Null));
        Ok(answer(status, &body))
    }
}

pub(super) fn answer(status: u16, body: &Value) -> Incoming {
    Incoming {
        status: StatusCode::from_u16(status).expect("a status"),
        headers: HeaderMap::new(),
        body: body.to_string().into(),
    }
}
