//! What a denied caller reads, with strangers' words in every place that has any.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use proptest::prelude::*;
use scraper::{ElementRef, Html, Selector};
use serde_json::{Value, json};
use stagedoor::domain::{
    Action, Contact, Decision, DecisionId, Denial, Email, EntityRef, Gate, Holder, Identity,
    IdentityKind, Link, Notes, Notice, Owner, Permit, Principal, Reason, Request, Target,
    TokenFacts, Verdict, Versions,
};
use stagedoor::ext_authz::proto::envoy::service::auth::v3::check_response::HttpResponse;
use stagedoor::ext_authz::{
    Answer, AnswerSettings, Audience, Denials, IdentityHeaders, Page, Reply, Tell,
};

/// A browser's, a program's.
const BROWSER: &str = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8";
const PROGRAM: &str = "*/*";

/// Text that would break out of a page, a string, a header or a line.
const HOSTILE: &[&str] = &[
    "Payments",
    "<script>document.title='hacked'</script>",
    "\"><img src=x onerror=document.title='hacked'>",
    "' onmouseover='document.title=1' x='",
    "</title></style></bdi></dl></main><h1>",
    "<!--",
    "]]>",
    "&lt;b&gt;&amp;&#60;",
    "{{ 1337*1337 }}{% for x in range(9) %}x{% endfor %}{# #}",
    "${7*7} #{7*7} <%= 7 %>",
    "a\r\nset-cookie: x=1\r\n\r\n<html>",
    "\0\u{1}\u{7f}",
    "\u{202e}gnp.exe\u{2066}\u{2068}",
    "מפתחים \u{200f}שלום",
    "javascript:alert(1)",
    "A\u{300}\u{301}\u{302}\u{303}",
    "\\u003cscript\\u003e",
    "",
    " ",
];

/// The words of strangers in a denial.
#[derive(Clone, Debug)]
struct Words {
    title: String,
    link: String,
    url: String,
    advice: String,
    policy: String,
    path: String,
    method: String,
}

impl Words {
    fn all(word: &str) -> Self {
        let word = || word.to_owned();
        Self {
            title: word(),
            link: word(),
            url: word(),
            advice: word(),
            policy: word(),
            path: word(),
            method: word(),
        }
    }

    fn harmless() -> Self {
        Self { url: "https://example.com/".to_owned(), path: "/a".to_owned(), ..Self::all("word") }
    }
}

fn identity() -> Arc<Identity> {
    Holder {
        tenant: "11111111-2222-3333-4444-555555555555".parse().unwrap(),
        object: "bbbbbbbb-0000-0000-0000-000000000001".parse().unwrap(),
        kind: IdentityKind::User,
        delegated: true,
        client: None,
        groups: Box::new([]),
        group_names: Box::new([]),
        groups_elsewhere: false,
        roles: Box::new([]),
        scopes: Box::new([]),
        issued_at: 0,
        expires_at: 0,
        facts: TokenFacts::default(),
    }
    .into()
}

fn denied(reason: Reason, words: &Words, owners: usize) -> Decision {
    let owner = |number: usize| Owner {
        entity: EntityRef::parse(&format!("group:default/team-{number}")).unwrap(),
        title: words.title.as_str().into(),
        contact: Some(Arc::new(Contact {
            email: Email::parse("payments@example.com"),
            links: [("https://chat.example.com/", Some(&*words.link)), (&words.url, None)]
                .iter()
                .filter_map(|(url, title)| Link::parse(*title, url))
                .collect(),
        })),
    };
    Decision {
        id: DecisionId::new(),
        verdict: Verdict::Deny(Denial {
            policies: vec![words.policy.as_str().into()],
            advice: vec![words.advice.as_str().into()],
            ..Denial::with_detail(reason, "for the operator alone")
        }),
        principal: Principal::Verified(identity()),
        target: Some(Target {
            resource: Some(EntityRef::parse("component:default/payments").unwrap()),
            action: Action::Write,
            gate: Gate::Policy,
            route: "route".into(),
            demands: None,
        }),
        owners: (0..owners).map(owner).collect(),
        versions: Versions::default(),
        notes: Notes::default(),
    }
}

fn settings() -> AnswerSettings {
    let name = |name: &str| format!("x-stagedoor-{name}");
    AnswerSettings::new(IdentityHeaders {
        subject: name("subject"),
        tenant: name("tenant"),
        kind: name("kind"),
        entity: name("entity"),
        decision_id: name("decision-id"),
    })
}

fn answer(denials: Denials) -> Answer {
    Answer::new(settings(), None).with_denials(denials)
}

fn denials() -> Denials {
    Denials {
        tell: Tell { policies: Audience::Known, ..Tell::default() },
        backstage_url: Some("https://backstage.example.com/".parse().unwrap()),
        ..Denials::default()
    }
}

/// What the client gets: status, headers, body.
struct Got {
    headers: Vec<(String, String)>,
    body: String,
}

impl Got {
    fn header(&self, name: &str) -> Option<&str> {
        let mut of = self.headers.iter().filter(|(other, _)| other == name);
        let (found, more) = (of.next(), of.next());
        assert!(more.is_none(), "{name} twice");
        found.map(|(_, value)| value.as_str())
    }

    fn json(&self) -> Value {
        assert_eq!(self.header("content-type"), Some("application/problem+json"));
        serde_json::from_str(&self.body).unwrap()
    }
}

fn get(decision: &Decision, denials: &Denials, words: &Words, accept: &str) -> Got {
    get_in(decision, denials, words, accept, None)
}

fn get_in(
    decision: &Decision,
    denials: &Denials,
    words: &Words,
    accept: &str,
    language: Option<&str>,
) -> Got {
    let request = Request {
        method: &words.method,
        host: "payments.example.com",
        path: &words.path,
        accept: Some(accept.into()),
        accept_language: language.map(Into::into),
        ..Request::default()
    };
    let message = Reply::of(decision, &answer(denials.clone()), Some(&request)).into_message();
    assert_eq!(crate::support::reply::legal(&message), Ok(false));
    let Some(HttpResponse::DeniedResponse(denied)) = message.http_response else { panic!("no") };
    assert!(denied.body.len() <= 16 * 1024, "{} bytes", denied.body.len());
    assert!(!denied.body.contains("for the operator alone"));
    let headers = denied.headers.into_iter().map(|option| option.header.unwrap());
    Got { headers: headers.map(|header| (header.key, header.value)).collect(), body: denied.body }
}

/// The elements of a page and the names of their attributes, and the values of those that
/// do something.
fn shape(html: &str) -> Vec<String> {
    let page = Html::parse_document(html);
    assert!(!html.contains('\0'));
    let mut shape = Vec::new();
    for element in page.root_element().descendants().filter_map(ElementRef::wrap) {
        let value = element.value();
        let mut attributes: Vec<&str> = value.attrs().map(|(name, _)| name).collect();
        attributes.sort_unstable();
        shape.push(format!("{} {attributes:?}", value.name()));
        if let Some(address) = value.attr("href") {
            let scheme = address.split(':').next().unwrap();
            assert!(["https", "http", "mailto"].contains(&scheme), "{address}");
            url::Url::parse(address).unwrap();
        }
    }
    shape
}

/// The text of a page as its reader sees it, without its style.
fn text(html: &str) -> String {
    let page = Html::parse_document(html);
    let body = Selector::parse("body").unwrap();
    page.select(&body).flat_map(|body| body.text()).collect()
}

#[test]
fn strangers_words_stay_words() {
    let wanted = {
        let words = Words::harmless();
        shape(&get(&denied(Reason::NotPermitted, &words, 2), &denials(), &words, BROWSER).body)
    };
    assert!(wanted.len() > 40, "{wanted:?}");
    let long = "<b>\"'".repeat(2_000);
    for word in HOSTILE.iter().copied().chain([long.as_str()]) {
        // Addresses are whole or not there, a path is canonical or not there, and what is
        // empty isn't either: then the page has fewer elements, which its own test counts.
        let mut words = Words { url: "https://example.com/".to_owned(), ..Words::all(word) };
        words.path = format!("/{}", percent_encoded(word));
        if word.trim().is_empty() || word.chars().all(char::is_control) {
            (words.advice, words.policy) = ("word".to_owned(), "word".to_owned());
        }
        let decision = denied(Reason::NotPermitted, &words, 2);
        let got = get(&decision, &denials(), &words, BROWSER);
        assert_eq!(got.header("content-type"), Some("text/html; charset=utf-8"), "{word:?}");
        let found: Vec<String> = shape(&got.body);
        // The request line is there only where it has one reading.
        let without = |shape: &[String]| -> Vec<String> {
            let bdi: Vec<_> = shape.iter().filter(|line| !line.starts_with("bdi")).collect();
            let lists = |line: &&&String| !line.starts_with("dt") && !line.starts_with("dd");
            bdi.iter().filter(lists).map(ToString::to_string).collect()
        };
        assert_eq!(without(&found), without(&wanted), "{word:?}");
        let read = text(&got.body);
        let marks = |c: char| c.is_control() && c != '\n' || ('\u{202a}'..='\u{202e}').contains(&c);
        assert!(!got.body.contains(marks), "{word:?}");
        assert!(!got.body.contains('\u{2066}') && !got.body.contains('\u{200f}'), "{word:?}");
        assert!(!read.contains("1787569"), "a template was evaluated: {read}");
        if word.starts_with("<script>") {
            assert!(read.contains(word), "it is there to be read: {read}");
        }
        // JSON says the same.
        let body = get(&decision, &denials(), &words, PROGRAM).json();
        assert_eq!(body["owners"].as_array().unwrap().len(), 2);
    }
}

fn percent_encoded(word: &str) -> String {
    word.bytes().filter(u8::is_ascii_alphanumeric).map(char::from).take(400).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    /// No word adds a tag or an attribute to the page.
    #[test]
    fn no_word_changes_the_page(
        title in word(), link in word(), url in word(), advice in word(), policy in word(),
        method in word(),
    ) {
        let nonempty = |text: String| format!("w{text}");
        let words = Words {
            title, link, url, advice: nonempty(advice), policy: nonempty(policy), method,
            path: "/a".to_owned(),
        };
        let known = Link::parse(None, &words.url).is_some();
        let mut other = Words::harmless();
        if !known {
            other.url = String::new();
        }
        let page = |words: &Words| {
            get(&denied(Reason::Forbidden, words, 1), &denials(), words, BROWSER).body
        };
        prop_assert_eq!(shape(&page(&words)), shape(&page(&other)));
    }
}

fn word() -> impl Strategy<Value = String> {
    prop_oneof![
        "\\PC{0,40}",
        any::<String>(),
        prop::sample::select(HOSTILE).prop_map(str::to_owned),
        proptest::collection::vec(prop::sample::select(HOSTILE), 0..4).prop_map(|w| w.concat()),
        "[<>\"'&=/ a-z{}%#!-]{0,30}",
        "https?://[a-z<>\"'&=/ @:?#%]{0,30}",
    ]
}

#[test]
fn a_program_reads_problem_details() {
    let words = Words { title: "Payments".to_owned(), ..Words::harmless() };
    let decision = denied(Reason::NotPermitted, &words, 1);
    let got = get(&decision, &denials(), &words, PROGRAM);
    let id = decision.id.to_string();
    assert_eq!(
        got.json(),
        json!({
            "type": "https://stagedoor.dev/reasons#not_permitted",
            "title": "You don’t have access",
            "status": 403,
            "detail": format!("{} It is owned by Payments: ask there.", Reason::NotPermitted.sentence()),
            "instance": format!("urn:uuid:{id}"),
            "reason": "not_permitted",
            "decision_id": id,
            "request": { "method": "word", "host": "payments.example.com", "path": "/a" },
            "entity": "component:default/payments",
            "entity_url": "https://backstage.example.com/catalog/default/component/payments",
            "action": "write",
            "owners": [{
                "entity": "group:default/team-0",
                "title": "Payments",
                "entity_url": "https://backstage.example.com/catalog/default/group/team-0",
                "email": "payments@example.com",
                "links": [
                    { "title": "word", "url": "https://chat.example.com/" },
                    { "title": "example.com", "url": "https://example.com/" },
                ],
            }],
            "advice": ["word"],
            "policies": ["word"],
            "caller": {
                "kind": "user",
                "object_id": "bbbbbbbb-0000-0000-0000-000000000001",
                "tenant_id": "11111111-2222-3333-4444-555555555555",
            },
        })
    );
    assert_eq!(got.header("vary"), Some("accept, accept-language"));
    assert_eq!(got.header("cache-control"), Some("no-store"));
    assert_eq!(got.header("x-content-type-options"), Some("nosniff"));
    assert_eq!(got.header("content-language"), Some("en"));
    assert_eq!(got.header("content-security-policy"), None);
}

#[test]
fn a_person_reads_a_page() {
    let words = Words { title: "Payments".to_owned(), ..Words::harmless() };
    let decision = denied(Reason::NotPermitted, &words, 1);
    let got = get(&decision, &denials(), &words, BROWSER);
    for (name, value) in [
        ("content-type", "text/html; charset=utf-8"),
        ("x-content-type-options", "nosniff"),
        ("referrer-policy", "no-referrer"),
        ("x-frame-options", "DENY"),
        ("cache-control", "no-store"),
        ("vary", "accept, accept-language"),
        ("content-language", "en"),
    ] {
        assert_eq!(got.header(name), Some(value), "{name}");
    }
    // The style is believed by its hash, and nothing else is.
    let policy = got.header("content-security-policy").unwrap();
    let style = got.body.split_once("<style>").unwrap().1.split_once("</style>").unwrap().0;
    let hash = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, style.as_bytes());
    use base64::Engine as _;
    let hash = base64::engine::general_purpose::STANDARD.encode(hash);
    assert_eq!(
        policy,
        format!(
            "default-src 'none'; style-src 'sha256-{hash}'; base-uri 'none'; form-action 'none'; \
             frame-ancestors 'none'"
        )
    );
    assert_eq!(got.body.matches("<style").count(), 1);
    for never in ["<script", "style=", "src=", "@import", "url(", " on"] {
        let page = got.body.replace(style, "");
        let found = page.contains(never) && never != " on";
        assert!(!found, "{never}");
    }

    let page = Html::parse_document(&got.body);
    let count = |selector: &str| page.select(&Selector::parse(selector).unwrap()).count();
    assert_eq!(count("html[lang=en][dir=ltr]"), 1);
    assert_eq!((count("h1"), count("main"), count("title")), (1, 1, 1));
    let headed = "section[aria-labelledby]";
    assert_eq!(count(headed), count("section"));
    for section in page.select(&Selector::parse(headed).unwrap()) {
        let id = section.value().attr("aria-labelledby").unwrap();
        assert_eq!(count(&format!("h2#{id}")), 1);
    }
    let read = text(&got.body);
    let id = decision.id.to_string();
    for part in [
        "403",
        "You don’t have access",
        Reason::NotPermitted.sentence(),
        "Payments",
        "payments@example.com",
        "component:default/payments",
        "payments.example.com/a",
        "change",
        "bbbbbbbb-0000-0000-0000-000000000001",
        "not_permitted",
        &id,
    ] {
        assert!(read.contains(part), "{part}: {read}");
    }
    let addresses: Vec<_> = page
        .select(&Selector::parse("a").unwrap())
        .map(|a| a.value().attr("href").unwrap().to_owned())
        .collect();
    assert_eq!(
        addresses,
        [
            "https://backstage.example.com/catalog/default/group/team-0",
            format!(
                "mailto:payments@example.com?subject=Access%20to%20component%3Adefault%2Fpayments\
                 %20%28decision%20{id}%29"
            )
            .as_str(),
            "https://chat.example.com/",
            "https://example.com/",
            "https://backstage.example.com/catalog/default/component/payments",
        ]
    );
}

/// WCAG 2.2 level AA asks for 4.5 to 1, in light and in dark.
#[test]
fn the_page_can_be_read() {
    let page = std::fs::read_to_string(file("src/ext_authz/denial/page.html")).unwrap();
    let schemes: Vec<&str> = page.lines().filter(|line| line.contains(":root{")).collect();
    assert_eq!(schemes.len(), 2);
    for scheme in schemes {
        let colour = |name: &str| -> [f64; 3] {
            let value = scheme.split_once(&format!("--{name}:#")).unwrap().1;
            let digits: String = value.chars().take_while(char::is_ascii_hexdigit).collect();
            let wide: String = if digits.len() == 3 {
                digits.chars().flat_map(|c| [c, c]).collect()
            } else {
                digits
            };
            [0, 2, 4].map(|at| f64::from(u8::from_str_radix(&wide[at..at + 2], 16).unwrap()))
        };
        let luminance = |name: &str| {
            let [r, g, b] = colour(name).map(|part| {
                let part = part / 255.0;
                if part <= 0.04045 { part / 12.92 } else { ((part + 0.055) / 1.055).powf(2.4) }
            });
            0.2126 * r + 0.7152 * g + 0.0722 * b
        };
        for (front, back) in [
            ("text", "card"),
            ("soft", "card"),
            ("link", "card"),
            ("text", "tint"),
            ("mark", "tint"),
        ] {
            let (front_is, back_is) = (luminance(front), luminance(back));
            let ratio = (front_is.max(back_is) + 0.05) / (front_is.min(back_is) + 0.05);
            assert!(ratio >= 4.5, "{front} on {back}: {ratio:.2}");
        }
    }
}

/// The levels, for callers who are known and for others.
#[test]
fn who_is_told_what() {
    let words = Words::harmless();
    let parts = ["entity", "owners", "caller", "advice", "policies"];
    let told = |tell: Tell, known: bool| -> Vec<&str> {
        let mut decision = denied(Reason::Forbidden, &words, 1);
        if !known {
            decision.principal = Principal::Anonymous;
        }
        let denials = Denials { tell, ..denials() };
        let body = get(&decision, &denials, &words, PROGRAM).json();
        let page = text(&get(&decision, &denials, &words, BROWSER).body);
        let has = |part: &&str| !body[*part].is_null();
        // Nothing else comes with it, and the page tells as much as the JSON.
        let entity = has(&"entity");
        assert_eq!((!body["action"].is_null(), !body["entity_url"].is_null()), (entity, entity));
        assert_eq!(page.contains("component:default/payments"), entity);
        assert_eq!(page.contains("group:default/team-0"), has(&"owners"));
        assert_eq!(page.contains("bbbbbbbb-"), has(&"caller"));
        let detail = body["detail"].as_str().unwrap();
        assert_eq!(detail.contains("owned by"), has(&"owners"));
        let contacts = !body["owners"][0]["email"].is_null();
        assert_eq!(contacts, !body["owners"][0]["links"].is_null());
        assert_eq!(page.contains("payments@example.com"), contacts);
        assert!(!detail.contains("payments@example.com"));
        let mut told: Vec<&str> = parts.into_iter().filter(has).collect();
        told.extend(contacts.then_some("contacts"));
        told
    };
    let all = |audience: Audience| Tell {
        entity: audience,
        owners: audience,
        contacts: audience,
        caller: audience,
        advice: audience,
        policies: audience,
    };
    let everything = ["entity", "owners", "caller", "advice", "policies", "contacts"];
    assert_eq!(told(all(Audience::Never), true), [""; 0]);
    assert_eq!(told(all(Audience::Never), false), [""; 0]);
    assert_eq!(told(all(Audience::Known), true), everything);
    assert_eq!(told(all(Audience::Known), false), [""; 0]);
    assert_eq!(told(all(Audience::Everyone), true), everything);
    // Of an unknown caller there is nothing to tell them.
    assert_eq!(
        told(all(Audience::Everyone), false),
        ["entity", "owners", "advice", "policies", "contacts"]
    );
    // By default nothing about ownership to callers without a valid token.
    assert_eq!(told(Tell::default(), false), [""; 0]);
    assert_eq!(told(Tell::default(), true), ["entity", "owners", "caller", "advice", "contacts"]);
    let tell = Tell { contacts: Audience::Never, ..Tell::default() };
    assert_eq!(told(tell, true), ["entity", "owners", "caller", "advice"]);
    let tell = Tell { owners: Audience::Never, ..all(Audience::Everyone) };
    assert_eq!(told(tell, true), ["entity", "caller", "advice", "policies"]);
}

/// Lists are cut rather than the page left out.
#[test]
fn the_largest_denial_fits() {
    let word = "<\"&'>".repeat(3_000);
    let words = Words { path: format!("/{}", "a".repeat(8_000)), ..Words::all(&word) };
    let mut decision = denied(Reason::NotPermitted, &words, 300);
    if let Verdict::Deny(denial) = &mut decision.verdict {
        denial.advice = vec![word.as_str().into(); 300];
        denial.policies = vec![word.as_str().into(); 300];
    }
    let page = get(&decision, &denials(), &words, BROWSER);
    assert_eq!(page.header("content-type"), Some("text/html; charset=utf-8"));
    assert!(text(&page.body).contains(&decision.id.to_string()));
    assert!(text(&page.body).contains("more"));
    get(&decision, &denials(), &words, PROGRAM).json();

    // Without strangers' excesses, all of it is there.
    let words = Words { title: "Team".to_owned(), ..Words::harmless() };
    let body = get(&denied(Reason::NotPermitted, &words, 12), &denials(), &words, PROGRAM).json();
    assert_eq!(body["owners"].as_array().unwrap().len(), 12);
}

#[test]
fn what_is_not_known_is_not_linked() {
    let words = Words::harmless();
    let body = get(&denied(Reason::EntityUnknown, &words, 0), &denials(), &words, PROGRAM).json();
    assert_eq!(body["entity"], "component:default/payments");
    assert_eq!(body["entity_url"], Value::Null);
    // A request line with two readings isn't repeated, and a query never is.
    for (path, want) in
        [("/a?code=secret", json!("/a")), ("//a", Value::Null), ("/%2e%2e/", Value::Null)]
    {
        let words = Words { path: path.to_owned(), ..Words::harmless() };
        let decision = denied(Reason::PathNotCanonical, &words, 0);
        let body = get(&decision, &denials(), &words, PROGRAM).json();
        assert_eq!(body["request"]["path"], want, "{path}");
        assert!(!get(&decision, &denials(), &words, BROWSER).body.contains("secret"));
    }
}

/// Every reason has words for a person and for a program.
#[test]
fn every_reason_has_its_page() {
    let words = Words::harmless();
    for reason in Reason::ALL {
        let decision = denied(*reason, &words, 1);
        let page = get(&decision, &denials(), &words, BROWSER);
        assert_eq!(page.header("content-type"), Some("text/html; charset=utf-8"), "{reason}");
        assert!(text(&page.body).contains(reason.sentence()), "{reason}");
        let challenged = reason.status() == 401 || *reason == Reason::TokenScopeMissing;
        assert_eq!(page.header("www-authenticate").is_some(), challenged, "{reason}");
        let body = get(&decision, &denials(), &words, PROGRAM).json();
        assert_eq!(body["status"], reason.status());
        assert_eq!(body["reason"], reason.code());
    }
}

fn file(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

fn own(source: &str) -> Result<Page, String> {
    Page::own(source).map_err(|error| error.in_file(Path::new("page.html")))
}

#[test]
fn an_own_template() {
    let source = "<!doctype html><title>{{ title }}</title>\n<style>p{color:red}</style>\n\
                  <STYLE media=screen>\r\nb{color:blue}</STYLE ><p title=\"{{ entity }}\">{{ sentence }} \
                  {% for owner in owners %}<a href=\"{{ owner.email_url }}\">{{ owner.title|upper }}\
                  </a>{% endfor %}";
    let denials = Denials { page: own(source).unwrap(), ..denials() };
    let words = Words { title: "<b>\"x".to_owned(), ..Words::harmless() };
    let got = get(&denied(Reason::NotPermitted, &words, 1), &denials, &words, BROWSER);
    assert!(got.body.contains("&lt;B&gt;&quot;X</a>"), "{}", got.body);
    let policy = got.header("content-security-policy").unwrap();
    assert_eq!(policy.matches("'sha256-").count(), 2);
    assert!(policy.contains("img-src data:"));
    let style = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, b"\nb{color:blue}");
    use base64::Engine as _;
    assert!(policy.contains(&base64::engine::general_purpose::STANDARD.encode(style)), "{policy}");

    // A comment ends where it ends.
    own("<!-- <a title= --><p>{{ entity }}</p>").unwrap();
    // The built-in one is one that an operator could have written.
    own(&std::fs::read_to_string(file("src/ext_authz/denial/page.html")).unwrap()).unwrap();
}

/// What there is no page of is told all the same.
#[test]
fn a_page_that_would_be_too_large_is_none() {
    let source = "{% if request %}<p>{{ request.path }}</p>{% endif %}".repeat(60);
    let denials = Denials { page: own(&source).unwrap(), ..denials() };
    let words = Words::harmless();
    let small = get(&denied(Reason::NotPermitted, &words, 1), &denials, &words, BROWSER);
    assert_eq!(small.header("content-type"), Some("text/html; charset=utf-8"));
    let words = Words { path: format!("/{}", "&".repeat(300)), ..words };
    let large = get(&denied(Reason::NotPermitted, &words, 1), &denials, &words, BROWSER);
    assert_eq!(large.json()["reason"], "not_permitted");
    assert_eq!(large.header("content-security-policy"), None);
}

#[test]
fn templates_with_mistakes() {
    for (source, want) in [
        ("a\n{{ title", "page.html:2: syntax error"),
        ("a\n\n{% if %}", "page.html:3: syntax error"),
        ("{{ titel }}", "page.html:1: undefined value"),
        ("\n{{ request.query }}", "page.html:2: undefined value"),
        // Only where there is a caller.
        ("a\n{{ caller.kind }}", "page.html:2: undefined value"),
        ("\n{{ title|safe }}", "page.html:2: unknown filter: filter safe is unknown"),
        (
            "{% autoescape false %}{{ entity }}{% endautoescape %}",
            "page.html: `entity` reaches the page without being escaped",
        ),
        ("<a title={{ entity }}>", "page.html: `entity` reaches an attribute without quotes"),
        ("<a {{ entity }}>", "page.html: `entity` reaches an attribute without quotes"),
        ("<a href = \"{{ entity }}\">", "page.html: `entity` reaches an attribute that does"),
        ("<a/HREF='{{ entity }}'>", "page.html: `entity` reaches an attribute that does"),
        ("<a xlink:href='{{ entity }}'>", "page.html: `entity` reaches an attribute that does"),
        ("<a title='x'/{{ entity }}>", "page.html: `entity` reaches an attribute without quotes"),
        (
            "{% for owner in owners %}<a href=\"{{ owner.title }}\">{% endfor %}",
            "page.html: `owner.title` reaches an attribute that does something",
        ),
        (
            "{% if request %}<b onclick='f({{ request.path }})'>{% endif %}",
            "page.html: `request.path` reaches an attribute that does something",
        ),
        ("<p style=\"color:{{ entity }}\">", "page.html: `entity` reaches an attribute that does"),
        ("<script>let x = '{{ entity }}'</script>", "page.html: `entity` reaches a script or a"),
        ("\n<style>\n{{ title }}</style>", "page.html:2: a style must be the same for everybody"),
        ("\n<style>{% if title %}p{}{% endif %}</style>", "page.html:2: a style must be the same"),
        ("\n<style>p{} {# no #}</style>", "page.html:2: a style must be the same"),
        ("<!-- {{ entity }} -->", "page.html: `entity` reaches a comment"),
        ("<!-- a --><a title={{ entity }}>", "page.html: `entity` reaches an attribute without"),
        ("{% include 'x' %}", "page.html:1: syntax error"),
        (
            "{% for a in range(1000000) %}{% endfor %}",
            "page.html:1: unknown function: range is unknown",
        ),
    ] {
        let error = own(source).err().unwrap_or_default();
        assert!(error.starts_with(want), "{source}\n{error}\nwanted: {want}");
    }
    let loops = "{% for a in title %}{% for b in title %}{% for c in sentence %}\
                 {% for d in sentence %}{% for e in sentence %}x{% endfor %}{% endfor %}{% endfor %}\
                 {% endfor %}{% endfor %}";
    let error = own(loops).unwrap_err();
    assert!(error.contains("takes too long") || error.contains("cannot"), "{error}");
    let error = own(&"x".repeat(20_000)).unwrap_err();
    assert!(error.contains("20000 bytes, and at most 16384 are sent"), "{error}");
}

/// Warnings stand on the upstream's answer, each in a header of its own.
#[test]
fn warnings_of_an_allow() {
    let mut decision = denied(Reason::NotPermitted, &Words::harmless(), 0);
    let target = Target { gate: Gate::Public, ..decision.target.clone().unwrap() };
    decision.verdict = Verdict::Allow(Permit::by_public_gate(&target).unwrap());
    let notice =
        |policy: &str, text: &str| Notice { policy: policy.into(), text: text.to_owned().into() };
    decision.notes.warnings = vec![
        notice("p", "Ends on 1 May"),
        notice("ü%", "a\r\nset-cookie: x=1\t\0\u{202e}"),
        notice("", ""),
        notice("long", &"ä".repeat(10_000)),
        notice("p", "5"),
        notice("p", "6"),
    ];
    let message = Reply::of(&decision, &answer(denials()), None).into_message();
    assert_eq!(crate::support::reply::legal(&message), Ok(true));
    let Some(HttpResponse::OkResponse(ok)) = message.http_response else { panic!("no") };
    let values: Vec<_> =
        ok.response_headers_to_add.into_iter().map(|option| option.header.unwrap().value).collect();
    assert_eq!(values.len(), 5);
    assert_eq!(values[0], "p: Ends on 1 May");
    assert_eq!(values[1], "%C3%BC%25: a  set-cookie: x=1  %E2%80%AE");
    assert_eq!(values[2], ":");
    assert!(values[3].starts_with("long: %C3%A4%C3%A4") && values[3].len() < 2_000);
    assert_eq!(values[4], "p: 5");
}

/// Writes the page with strangers' words in every place, and its headers, for who looks at
/// it in a browser: `scripts/screenshots`.
#[test]
#[ignore = "for scripts/screenshots"]
fn write_pages() {
    let Ok(folder) = std::env::var("STAGEDOOR_PAGES_TO") else { return };
    let folder = Path::new(&folder);
    let good = Words {
        title: "Payments".to_owned(),
        link: "#payments-help".to_owned(),
        url: "https://wiki.example.com/payments".to_owned(),
        advice: "Changes to payments are for its team. Ask them for a review, or for the role \
                 “payments-operator”."
            .to_owned(),
        policy: "owners-write".to_owned(),
        path: "/v1/refunds/2026-11/4711".to_owned(),
        method: "POST".to_owned(),
    };
    let script = "<script>document.title='hacked'</script>\"><img src=x \
                  onerror=document.title='hacked'>";
    let hostile = Words {
        title: format!("{script}\u{202e}evil {}", "W".repeat(120)),
        link: format!("{script}</a></bdi>"),
        url: "https://example.com/\"><script>document.title='hacked'</script>".to_owned(),
        advice: format!("{script} {{{{ 7*7 }}}} מפתחים \u{202e}{}", "long".repeat(120)),
        policy: script.to_owned(),
        path: format!("/{}", "very-long-segment".repeat(40)),
        method: "GET'><script>".to_owned(),
    };
    for (name, words, owners) in [("plain", good, 1), ("hostile", hostile, 2)] {
        let got = get(&denied(Reason::NotPermitted, &words, owners), &denials(), &words, BROWSER);
        std::fs::write(folder.join(format!("{name}.html")), &got.body).unwrap();
        let headers = serde_json::to_string(&got.headers).unwrap();
        std::fs::write(folder.join(format!("{name}.json")), headers).unwrap();
        let elements = serde_json::to_string(&shape(&got.body)).unwrap();
        std::fs::write(folder.join(format!("{name}.shape.json")), elements).unwrap();
    }
}
