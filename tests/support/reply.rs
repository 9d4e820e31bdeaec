//! The two legal shapes of a reply, as Envoy obeys them.

use stagedoor::ext_authz::proto::envoy::config::core::v3::HeaderValueOption;
use stagedoor::ext_authz::proto::envoy::service::auth::v3::{
    CheckResponse, check_response::HttpResponse,
};

/// The headers that Envoy is told to set: few, small, plain, and none that would
/// send the request elsewhere.
fn check_headers(headers: &[HeaderValueOption]) -> Result<(), String> {
    check_values(headers, 2)?;
    let mut names: Vec<_> =
        headers.iter().filter_map(|option| Some(&option.header.as_ref()?.key)).collect();
    let count = names.len();
    names.sort_unstable();
    names.dedup();
    if names.len() != count {
        return Err("a header is set twice".to_owned());
    }
    Ok(())
}

/// What an allow adds to the upstream's answer: warnings, beside each other.
fn check_warnings(headers: &[HeaderValueOption]) -> Result<(), String> {
    check_values(headers, 0)?;
    let other = |option: &HeaderValueOption| {
        option.header.as_ref().is_none_or(|header| header.key != "x-stagedoor-warning")
    };
    if headers.len() > 5 || headers.iter().any(other) {
        return Err(format!("an allow adds {headers:?} to the answer"));
    }
    Ok(())
}

fn check_values(headers: &[HeaderValueOption], append_action: i32) -> Result<(), String> {
    let mut bytes = 0;
    for option in headers {
        let header = option.header.as_ref().ok_or("a header option without a header")?;
        let (key, value) = (&header.key, &header.value);
        bytes += key.len() + value.len();
        if key.starts_with(':') || key == "host" || key.is_empty() {
            return Err(format!("`{key}` must never be set"));
        }
        if http::HeaderName::from_lowercase(key.as_bytes()).is_err() {
            return Err(format!("`{key}` is no header name"));
        }
        if !value.bytes().all(|byte| (b' '..=b'~').contains(&byte)) {
            return Err(format!("`{value:?}` is not plain ASCII"));
        }
        #[allow(deprecated)] // it must not be set either
        let append = option.append.is_some();
        if !header.raw_value.is_empty() || append || option.append_action != append_action {
            return Err(format!("`{key}` is not set as it should be"));
        }
    }
    let count = headers.len();
    if count > 20 || bytes > 8 * 1024 {
        return Err(format!("{count} headers of {bytes} bytes"));
    }
    Ok(())
}

/// Whether a response is a legal allow (true) or a legal denial (false).
pub(crate) fn legal(response: &CheckResponse) -> Result<bool, String> {
    let code = response.status.as_ref().ok_or("no status")?.code;
    match (code, &response.http_response) {
        (0, Some(HttpResponse::OkResponse(ok))) => {
            check_headers(&ok.headers)?;
            let set: Vec<_> = ok
                .headers
                .iter()
                .map(|option| option.header.as_ref().unwrap().key.as_str())
                .collect();
            for name in ["subject", "tenant", "kind", "entity", "decision-id"] {
                let name = format!("x-stagedoor-{name}");
                let removed = ok.headers_to_remove.contains(&name);
                if set.contains(&name.as_str()) == removed {
                    return Err(format!("`{name}` is not either set or removed"));
                }
                // `_` for every `-`, for the first, for the last.
                let (first, last) = name.split_once('-').unwrap();
                let (start, end) = name.rsplit_once('-').unwrap();
                for other in
                    [name.replace('-', "_"), format!("{first}_{last}"), format!("{start}_{end}")]
                {
                    if !ok.headers_to_remove.contains(&other) {
                        return Err(format!("the look-alike `{other}` is not removed"));
                    }
                }
            }
            if ok.headers_to_remove.iter().any(|name| set.contains(&name.as_str())) {
                return Err("a header is set and removed".to_owned());
            }
            check_warnings(&ok.response_headers_to_add)?;
            let rest = (&ok.query_parameters_to_set, &ok.query_parameters_to_remove);
            if !(rest.0.is_empty() && rest.1.is_empty()) {
                return Err("an allow changes more than headers".to_owned());
            }
            Ok(true)
        }
        (1.., Some(HttpResponse::DeniedResponse(denied))) => {
            check_headers(&denied.headers)?;
            match denied.status.as_ref().map(|status| status.code) {
                Some(302 | 400 | 401 | 403 | 404 | 429 | 503) => Ok(false),
                other => Err(format!("a denial with status {other:?}")),
            }
        }
        (code, shape) => Err(format!("code {code} beside {shape:?}")),
    }
}
