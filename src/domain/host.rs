//! stub
use std::borrow::Cow;
/// stub
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("stub")]
pub struct HostError;
/// stub
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Host<'a>(Cow<'a, str>);
impl<'a> Host<'a> {
    /// stub
    pub fn parse(raw: &'a str) -> Result<Self, HostError> {
        Ok(Self(Cow::Borrowed(raw)))
    }
    /// stub
    pub fn as_str(&self) -> &str {
        &self.0
    }
}
