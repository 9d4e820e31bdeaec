//! What a plain scalar means: the core schema of YAML 1.2 (section 10.3.2).

use serde_json::Number;

use super::Scalar;

/// What a scalar without quotes and without a tag means.
///
/// # Errors
/// A number that JSON can't hold, in words.
pub(super) fn resolve(text: &str) -> Result<Scalar, String> {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => Ok(Scalar::Null),
        "true" | "True" | "TRUE" => Ok(Scalar::Bool(true)),
        "false" | "False" | "FALSE" => Ok(Scalar::Bool(false)),
        _ => match number(text) {
            Some(Some(number)) => Ok(Scalar::Number(number)),
            Some(None) => Err(format!("the number `{text}` is out of range")),
            None => Ok(Scalar::String(text.to_owned())),
        },
    }
}

/// Nothing if the text is no number, and nothing inside if it is one that can't be held.
fn number(text: &str) -> Option<Option<Number>> {
    if let Some(digits) = text.strip_prefix("0x") {
        return radix(digits, 16);
    }
    if let Some(digits) = text.strip_prefix("0o") {
        return radix(digits, 8);
    }
    let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
    if matches!(unsigned, ".inf" | ".Inf" | ".INF") || matches!(text, ".nan" | ".NaN" | ".NAN") {
        return Some(None);
    }
    if !is_decimal(unsigned) {
        return None;
    }
    // What is JSON as well must mean the same as it does there.
    if let Ok(number) = serde_json::from_str(text) {
        return Some(Some(number));
    }
    let digits = unsigned.trim_start_matches('0');
    if unsigned.bytes().all(|b| b.is_ascii_digit()) {
        let sign = if text.starts_with('-') { "-" } else { "" };
        let digits = if digits.is_empty() { "0" } else { digits };
        return Some(serde_json::from_str(&format!("{sign}{digits}")).ok());
    }
    Some(text.parse::<f64>().ok().and_then(Number::from_f64))
}

fn radix(digits: &str, radix: u32) -> Option<Option<Number>> {
    if digits.is_empty() || !digits.chars().all(|c| c.is_digit(radix)) {
        return None;
    }
    Some(u64::from_str_radix(digits, radix).ok().map(Number::from))
}

/// `( \. [0-9]+ | [0-9]+ ( \. [0-9]* )? ) ( [eE] [-+]? [0-9]+ )?`
fn is_decimal(unsigned: &str) -> bool {
    let digits = |text: &str| text.bytes().all(|b| b.is_ascii_digit());
    let (mantissa, exponent) = match unsigned.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, Some(exponent)),
        None => (unsigned, None),
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let exponent_fits = exponent.is_none_or(|exponent| {
        let exponent = exponent.strip_prefix(['-', '+']).unwrap_or(exponent);
        !exponent.is_empty() && digits(exponent)
    });
    digits(whole) && digits(fraction) && !(whole.is_empty() && fraction.is_empty()) && exponent_fits
}
