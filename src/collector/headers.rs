//! The headers that a collector wants, such as a key: from the environment, as OpenTelemetry
//! has it.

use std::env;

use http::{HeaderMap, HeaderName, HeaderValue};
use percent_encoding::percent_decode_str;

/// What `OTEL_EXPORTER_OTLP_HEADERS` says, or what stands in its place for one signal:
/// `name=value,name=value`, values percent-encoded. The exporters of traces and logs read it
/// themselves.
pub(crate) fn headers(signal: &str) -> HeaderMap {
    let own = format!("OTEL_EXPORTER_OTLP_{signal}_HEADERS");
    env::var(own)
        .or_else(|_| env::var("OTEL_EXPORTER_OTLP_HEADERS"))
        .map_or_else(|_| HeaderMap::new(), |text| parse(&text))
}

/// What can't be a header is left out, as the exporters do.
fn parse(text: &str) -> HeaderMap {
    let pairs = text.split(',').filter_map(|pair| pair.split_once('='));
    pairs
        .filter_map(|(name, value)| {
            let name: HeaderName = name.trim().parse().ok()?;
            let value = percent_decode_str(value.trim()).decode_utf8().ok()?;
            let mut value = HeaderValue::from_str(&value).ok()?;
            value.set_sensitive(true);
            Some((name, value))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_opentelemetry_writes_them() {
        let headers = parse("Authorization=Basic%20YTpi+/==, x-scope = a ,odd,b\u{e9}=c,d=%ff");
        let of = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
        assert_eq!(headers.len(), 2, "{headers:?}");
        assert_eq!((of("authorization"), of("x-scope")), (Some("Basic YTpi+/=="), Some("a")));
        assert!(!format!("{headers:?}").contains("YTpi"));
    }
}
