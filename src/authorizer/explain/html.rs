//! An explanation as a page.

use std::fmt::Write as _;

use super::model::Explanation;
use super::sections::Tone;

const STYLE: &str = "\
:root{color-scheme:light dark;--ink:#1b1f24;--dim:#57606a;--page:#fff;--card:#f6f8fa;--line:#d0d7de;\
--good:#116329;--bad:#a40e26;--near:#7d4e00}\
@media(prefers-color-scheme:dark){:root{--ink:#e6edf3;--dim:#9198a1;--page:#0d1117;--card:#151b23;\
--line:#3d444d;--good:#56d364;--bad:#ff7b72;--near:#e3b341}}\
body{margin:0;background:var(--page);color:var(--ink);font:16px/1.5 system-ui,sans-serif}\
main{max-width:60rem;margin:0 auto;padding:1.5rem}\
h1{font-size:1.4rem}h2{font-size:1rem;margin:1.5rem 0 .5rem}\
dl{margin:0;display:grid;grid-template-columns:minmax(6rem,14rem) 1fr;border:1px solid var(--line);\
border-radius:.5rem;background:var(--card);overflow:hidden}\
dt,dd{margin:0;padding:.35rem .75rem;border-top:1px solid var(--line);overflow-wrap:anywhere;\
unicode-bidi:isolate}dt{color:var(--dim)}dt:first-of-type,dd:first-of-type{border-top:0}\
.good{color:var(--good)}.bad{color:var(--bad)}.near{color:var(--near)}\
@media(max-width:36rem){dl{grid-template-columns:1fr}dd{border-top:0;padding-top:0}}";

impl Explanation {
    /// As a page of its own, without scripts and without anything from elsewhere.
    #[must_use]
    pub fn html(&self) -> String {
        let mut page = format!(
            "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\">\
             <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\
             <title>Stagedoor: why</title><style>{STYLE}</style></head><body><main>\
             <h1>Why this is answered with {}</h1>",
            escaped(self.conclusion.decision)
        );
        for section in self.sections() {
            let _ = write!(page, "<section><h2>{}</h2><dl>", escaped(section.title));
            for (tone, label, words) in section.lines {
                let (class, mark) = match tone {
                    Tone::Plain => ("plain", ""),
                    Tone::Good => ("good", "✓ "),
                    Tone::Bad => ("bad", "✗ "),
                    Tone::Near => ("near", "≈ "),
                };
                let (label, words) = (escaped(&label), escaped(&words));
                let _ = write!(page, "<dt>{label}</dt><dd class=\"{class}\">{mark}{words}</dd>");
            }
            page.push_str("</dl></section>");
        }
        page.push_str("</main></body></html>\n");
        page
    }
}

/// Text for a page: what others wrote opens no tag and ends no attribute.
fn escaped(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\'' => safe.push_str("&#39;"),
            c if c.is_control() => safe.push('\u{fffd}'),
            c => safe.push(c),
        }
    }
    safe
}
