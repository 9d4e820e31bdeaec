//! How far the clock here is from the tenant's.
//!
//! Every answer says when it was made (`Date`, RFC 9110). A clock that is wrong here refuses
//! tokens that have just begun, or lets those live on that are over, so somebody has to know.

use chrono::DateTime;
use http::HeaderMap;
use http::header::{AGE, DATE};

/// More than this is told: as much as tokens are forgiven by default.
const MOST: i64 = 60;

/// Seconds by which the clock here is ahead; nothing where the answer doesn't say when it was
/// made.
pub(super) fn of(headers: &HeaderMap, here: i64) -> Option<i64> {
    let text = |name| headers.get(name)?.to_str().ok();
    let made = DateTime::parse_from_rfc2822(text(DATE)?).ok()?.timestamp();
    // So long it has been kept on the way.
    let kept = text(AGE).and_then(|age| age.parse::<u32>().ok()).unwrap_or(0);
    Some(here.saturating_sub(made.saturating_add(kept.into())))
}

/// Whether somebody has to know.
pub(super) fn is_much(skew: i64) -> bool {
    skew.unsigned_abs() > MOST.unsigned_abs()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(headers: &[(http::HeaderName, &'static str)], expected: Option<i64>) {
        let value = |(name, value): &(http::HeaderName, &'static str)| {
            (name.clone(), http::HeaderValue::from_static(value))
        };
        let headers: HeaderMap = headers.iter().map(value).collect();
        // A minute and forty seconds after half past one.
        assert_eq!(of(&headers, 1_700_012_900), expected, "{headers:?}");
    }

    #[test]
    fn what_answers_say_of_their_time() {
        check(&[(DATE, "Wed, 15 Nov 2023 01:48:20 GMT")], Some(0));
        check(&[(DATE, "Wed, 15 Nov 2023 01:46:40 GMT")], Some(100));
        check(&[(DATE, "Wed, 15 Nov 2023 01:50:00 GMT")], Some(-100));
        check(&[(DATE, "Wed, 15 Nov 2023 01:46:40 GMT"), (AGE, "90")], Some(10));
        check(&[(DATE, "Wed, 15 Nov 2023 01:46:40 GMT"), (AGE, "-90")], Some(100));
        check(&[(DATE, "a while ago")], None);
        check(&[(AGE, "90")], None);
        assert!([61, -61, i64::MAX, i64::MIN].into_iter().all(is_much));
        assert!([60, 0, -60].into_iter().all(|skew| !is_much(skew)));
    }
}
