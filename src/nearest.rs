//! Which known word an unknown one was meant to be.

/// The known word that `word` is most likely a slip of, if any is likely.
pub(crate) fn nearest<'a>(word: &str, known: &[&'a str]) -> Option<&'a str> {
    let plain = |text: &str| text.to_lowercase().replace(['-', ' '], "_");
    let word = plain(word);
    known
        .iter()
        .map(|known| (distance(&word, &plain(known)), *known))
        .filter(|(distance, known)| *distance <= known.chars().count().div_ceil(3))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, known)| known)
}

/// Insertions, deletions and replacements of a character (Levenshtein).
fn distance(from: &str, to: &str) -> usize {
    let to: Vec<char> = to.chars().collect();
    let mut row: Vec<usize> = (0..=to.len()).collect();
    for (index, a) in from.chars().take(100).enumerate() {
        let mut left = index + 1;
        let mut next = vec![left];
        for (b, (diagonal, above)) in to.iter().zip(row.iter().zip(row.iter().skip(1))) {
            left = (diagonal + usize::from(a != *b)).min(above + 1).min(left + 1);
            next.push(left);
        }
        row = next;
    }
    row.last().copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slips() {
        let known = ["audiences", "authority", "id", "clients", "max_token_bytes"];
        for (word, want) in [
            ("audience", Some("audiences")),
            ("Audiences", Some("audiences")),
            ("max-token-bytes", Some("max_token_bytes")),
            ("maxTokenBytes", Some("max_token_bytes")),
            ("cleints", Some("clients")),
            ("ids", Some("id")),
            ("secret", None),
            ("", None),
        ] {
            assert_eq!(nearest(word, &known), want, "{word}");
        }
        assert_eq!(distance("kitten", "sitting"), 3);
        assert_eq!(distance("", "abc"), 3);
    }
}
