//! `HeaderValueOption`: a header, and what becomes of others of its name.

use super::proto::envoy::config::core::v3::header_value_option::HeaderAppendAction;
use super::wire::Back;

/// A header that replaces whatever stands there.
pub(super) fn set(out: &mut Back, field: u32, name: &str, value: &str) {
    option(out, field, name, value, HeaderAppendAction::OverwriteIfExistsOrAdd);
}

/// A header that stands beside others of its name.
pub(super) fn append(out: &mut Back, field: u32, name: &str, value: &str) {
    option(out, field, name, value, HeaderAppendAction::AppendIfExistsOrAdd);
}

fn option(out: &mut Back, field: u32, name: &str, value: &str, action: HeaderAppendAction) {
    out.message(field, |out| {
        out.number(3, u64::try_from(i32::from(action)).unwrap_or_default());
        out.message(1, |out| {
            out.text(2, value);
            out.text(1, name);
        });
    });
}
