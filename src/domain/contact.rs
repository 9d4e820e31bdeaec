//! How to reach an owner.
//!
//! Whoever writes a catalog file writes these, and they end up where a person clicks on
//! them: so an address has one narrow form, and a link one of two schemes.

use std::fmt;

use url::Url;

use super::plain::plain;

/// What a catalog says of reaching a group. Never of a person: that would be theirs to
/// give away.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Contact {
    /// `spec.profile.email`.
    pub email: Option<Email>,
    /// `metadata.links`, in their order.
    pub links: Box<[Link]>,
}

impl Contact {
    /// More links than this are not kept.
    pub const MAX_LINKS: usize = 5;

    /// Whether it says nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.email.is_none() && self.links.is_empty()
    }
}

/// An e-mail address that can stand after `mailto:` as it is.
#[derive(Clone, PartialEq, Eq)]
pub struct Email(Box<str>);

impl Email {
    /// Takes an address of the usual form: ASCII letters, digits and `. _ + = -` before
    /// the `@`, a name of at least two labels after it. What RFC 5321 allows beyond that
    /// (quotes, comments, other scripts) is nothing that a team's mailbox needs, and
    /// `% ? & #` would say something in a `mailto:`.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (local, domain) = text.split_once('@')?;
        let in_local = |b: u8| b.is_ascii_alphanumeric() || b"._+=-".contains(&b);
        let local_fits = (1..=64).contains(&local.len()) && local.bytes().all(in_local);
        let labels = domain.split('.');
        let label_fits = |label: &str| {
            (1..=63).contains(&label.len())
                && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
                && !label.starts_with('-')
                && !label.ends_with('-')
        };
        let domain_fits =
            domain.len() <= 253 && domain.contains('.') && labels.into_iter().all(label_fits);
        (local_fits && domain_fits).then(|| Self(text.into()))
    }

    /// The address.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A place where the owner can be reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    title: Box<str>,
    url: Box<str>,
}

impl Link {
    /// Nobody reads more of a link's title.
    const MAX_TITLE: usize = 60;
    /// A longer address is not kept.
    const MAX_URL: usize = 500;

    /// Takes an address of http or https, without user and password; nothing else is a
    /// place to send people to. Without a title its host is its title.
    #[must_use]
    pub fn parse(title: Option<&str>, url: &str) -> Option<Self> {
        // Parsing leaves out blanks and line breaks; whoever wrote them meant something else.
        let odd = |c: char| c.is_control() || c.is_whitespace();
        if url.len() > Self::MAX_URL || url.contains(odd) {
            return None;
        }
        let url = Url::parse(url).ok()?;
        let web = matches!(url.scheme(), "http" | "https");
        let named = url.username().is_empty() && url.password().is_none();
        let host = url.host_str().filter(|host| !host.is_empty())?;
        // Escapes can make it longer.
        if !web || !named || url.as_str().len() > Self::MAX_URL {
            return None;
        }
        let title = title.map(|title| plain(title, Self::MAX_TITLE));
        let title = title.filter(|title| !title.trim().is_empty());
        let title = title.map_or_else(|| plain(host, Self::MAX_TITLE), |t| t.trim().to_owned());
        Some(Self { title: title.into(), url: url.as_str().into() })
    }

    /// What it is called.
    #[must_use]
    pub fn title(&self) -> &str {
        &self.title
    }

    /// Where it leads.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }
}

impl fmt::Debug for Email {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses() {
        for good in ["payments@example.com", "a.b+c_d=e-f@mail.example.co", "P@x.y"] {
            assert_eq!(Email::parse(good).unwrap().as_str(), good);
        }
        let long = format!("{}@example.com", "a".repeat(65));
        // No name of a domain is longer than 253, whatever it is made of.
        let domain = format!("{}abcd.co", "abcdefgh.".repeat(27));
        assert!(domain.len() == 250 && Email::parse(&format!("a@{domain}")).is_some());
        let far = format!("a@{domain}.abc");
        for bad in [
            "",
            "@",
            "payments",
            "payments@",
            "@example.com",
            "payments@localhost",
            "a@b@example.com",
            "a b@example.com",
            " a@example.com",
            "a@example.com\n",
            "a\u{0}@example.com",
            "\"a\"@example.com",
            "a<b>@example.com",
            "a%0abcc:x@example.com",
            "a@example.com?bcc=x@example.org",
            "a&b@example.com",
            "a#b@example.com",
            "a'b@example.com",
            "a@-example.com",
            "a@example..com",
            "a@exämple.com",
            "аdmin@example.com",
            "\u{202e}a@example.com",
            "mailto:a@example.com",
            &long,
            &far,
        ] {
            assert!(Email::parse(bad).is_none(), "{bad:?}");
        }
    }

    #[test]
    fn links() {
        for (title, url, want) in [
            (
                Some("Chat"),
                "https://chat.example.com/c/1",
                ("Chat", "https://chat.example.com/c/1"),
            ),
            (None, "http://wiki.example.com", ("wiki.example.com", "http://wiki.example.com/")),
            (Some(" \u{202e}\n"), "https://a.example/", ("a.example", "https://a.example/")),
            (
                Some("\u{202e}x\0y"),
                "HTTPS://A.example/\"><script>?'\"#<b>",
                ("xy", "https://a.example/%22%3E%3Cscript%3E?%27%22#%3Cb%3E"),
            ),
        ] {
            let link = Link::parse(title, url).expect(url);
            assert_eq!((link.title(), link.url()), want);
        }
        let long = format!("https://example.com/{}", "a".repeat(500));
        let longer = format!("https://example.com/{}", "ä".repeat(200));
        for bad in [
            "",
            "/relative",
            "//example.com/",
            "javascript:alert(1)",
            "JavaScript:alert(1)",
            "java\nscript:alert(1)",
            "data:text/html,<script>",
            "vbscript:x",
            "mailto:a@example.com",
            "ftp://example.com/",
            "file:///etc/passwd",
            "https://user@example.com/",
            "https://user:secret@example.com/",
            "https://example.com/ a",
            " https://example.com/",
            "https://exa\tmple.com/",
            "https://",
            &long,
            &longer,
        ] {
            assert!(Link::parse(None, bad).is_none(), "{bad:?}");
        }
        assert_eq!(
            Link::parse(Some(&"é".repeat(500)), "https://a.example")
                .unwrap()
                .title()
                .chars()
                .count(),
            60
        );
    }
}
