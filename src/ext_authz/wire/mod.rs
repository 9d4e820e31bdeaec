//! Protobuf by hand, where it is worth it: what of a `CheckRequest` may decide, borrowed from
//! the bytes that came, and a `CheckResponse` written into one piece of memory.
//!
//! The generated types stay the reference. [`read`] is sure of what it says or says nothing,
//! and then the generated types are asked; what is written is read by them in the tests.

mod back;
mod check;
mod reader;
#[cfg(test)]
mod tests;

pub(super) use back::Back;
pub use check::read;
