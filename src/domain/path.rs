//! stub
/// stub
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("stub")]
pub struct PathError;
/// stub
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Path<'a>(&'a str);
impl<'a> Path<'a> {
    /// stub
    pub fn split(raw: &'a str) -> Result<(Self, Option<&'a str>), PathError> {
        Ok((Self(raw), None))
    }
    /// stub
    pub fn as_str(&self) -> &'a str {
        self.0
    }
}
