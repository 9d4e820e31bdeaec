//! How durations and sizes are written: `150ms`, `64MiB`.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// A duration, written as a number and one of `ms`, `s`, `m`, `h`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Period(pub(super) Duration);

impl Period {
    pub(super) const fn millis(count: u64) -> Self {
        Self(Duration::from_millis(count))
    }

    pub(super) const fn seconds(count: u64) -> Self {
        Self(Duration::from_secs(count))
    }

    pub(super) const fn minutes(count: u64) -> Self {
        Self(Duration::from_secs(count * 60))
    }

    pub(super) const fn hours(count: u64) -> Self {
        Self(Duration::from_secs(count * 3600))
    }
}

const PERIOD_UNITS: [(&str, u64); 4] = [("ms", 1), ("h", 3_600_000), ("m", 60_000), ("s", 1000)];

impl FromStr for Period {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let millis = amount(text, &PERIOD_UNITS).ok_or("expected a duration such as `60s`")?;
        Ok(Self(Duration::from_millis(millis)))
    }
}

impl fmt::Display for Period {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let millis = self.0.as_millis();
        for (unit, factor) in [("h", 3_600_000), ("m", 60_000), ("s", 1000)] {
            if millis > 0 && millis.is_multiple_of(factor) {
                return write!(f, "{}{unit}", millis / factor);
            }
        }
        write!(f, "{millis}ms")
    }
}

impl JsonSchema for Period {
    fn schema_name() -> Cow<'static, str> {
        "Duration".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "title": "a duration such as `150ms`, `60s`, `5m` or `24h`",
            "pattern": "^[0-9]{1,12}(ms|s|m|h)$",
        })
    }
}

impl Serialize for Period {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Period {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

/// A number of bytes, or a number and one of `KiB`, `MiB`, `GiB`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct ByteSize(pub(super) u64);

impl ByteSize {
    pub(super) const fn kib(count: u64) -> Self {
        Self(count << 10)
    }

    pub(super) const fn mib(count: u64) -> Self {
        Self(count << 20)
    }
}

const SIZE_UNITS: [(&str, u64); 3] = [("KiB", 1 << 10), ("MiB", 1 << 20), ("GiB", 1 << 30)];

impl FromStr for ByteSize {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        amount(text, &SIZE_UNITS).map(Self).ok_or("expected a size such as `64MiB`")
    }
}

impl fmt::Display for ByteSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (unit, factor) in [("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)] {
            if self.0 > 0 && self.0.is_multiple_of(factor) {
                return write!(f, "{}{unit}", self.0 / factor);
            }
        }
        write!(f, "{}", self.0)
    }
}

impl JsonSchema for ByteSize {
    fn schema_name() -> Cow<'static, str> {
        "Size".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        // One schema for both forms rather than a choice of two: a mistake is then
        // one message.
        json_schema!({
            "type": ["integer", "string"],
            "title": "a size such as `65536` or `64MiB`",
            "minimum": 0,
            "maximum": 1u64 << 50,
            "pattern": "^[0-9]{1,9}(KiB|MiB|GiB)$",
        })
    }
}

impl Serialize for ByteSize {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for ByteSize {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Either;
        impl de::Visitor<'_> for Either {
            type Value = ByteSize;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a size such as `65536` or `64MiB`")
            }

            fn visit_u64<E: de::Error>(self, bytes: u64) -> Result<ByteSize, E> {
                Ok(ByteSize(bytes))
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<ByteSize, E> {
                text.parse().map_err(E::custom)
            }
        }
        deserializer.deserialize_any(Either)
    }
}

/// A number and a unit, in the smallest unit. Nothing if it is no such text or too large.
fn amount(text: &str, units: &[(&str, u64)]) -> Option<u64> {
    let (digits, factor) = units
        .iter()
        .find_map(|(unit, factor)| text.strip_suffix(unit).map(|digits| (digits, factor)))?;
    if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    digits.parse::<u64>().ok()?.checked_mul(*factor)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn periods() {
        for (text, millis, shown) in [
            ("150ms", 150, "150ms"),
            ("1000ms", 1000, "1s"),
            ("90s", 90_000, "90s"),
            ("60s", 60_000, "1m"),
            ("60m", 3_600_000, "1h"),
            ("28h", 100_800_000, "28h"),
            ("0s", 0, "0ms"),
        ] {
            let period: Period = text.parse().expect(text);
            assert_eq!(period, Period::millis(millis), "{text}");
            assert_eq!(period.to_string(), shown);
        }
        for text in
            ["", "s", "1", "1 s", "-1s", "1.5s", "1S", "1d", "1h30m", "9999999999999999999h"]
        {
            assert!(text.parse::<Period>().is_err(), "{text}");
        }
    }

    #[test]
    fn sizes() {
        for (text, bytes, shown) in [
            ("1KiB", 1024, "1KiB"),
            ("64MiB", 64 << 20, "64MiB"),
            ("1024MiB", 1 << 30, "1GiB"),
            ("0KiB", 0, "0"),
        ] {
            let size: ByteSize = text.parse().expect(text);
            assert_eq!(size, ByteSize(bytes), "{text}");
            assert_eq!(size.to_string(), shown);
        }
        assert_eq!(ByteSize(1500).to_string(), "1500");
        for text in ["", "1", "1MB", "KiB", "-1KiB", "1.5MiB", "1 MiB", "99999999999GiB"] {
            assert!(text.parse::<ByteSize>().is_err(), "{text}");
        }
    }
}
