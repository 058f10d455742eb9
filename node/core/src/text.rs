//! Texts from others made fit to show: names that cannot pretend to be
//! something else, error texts as sentences.

use kith_wire::limits::NAME_BYTES_MAX;

/// Characters that change how their neighbours are drawn, or are not drawn at
/// all. Joiners (U+200C, U+200D) stay: scripts and emoji need them.
fn hides(c: char) -> bool {
    matches!(c,
        '\u{00AD}' | '\u{061C}' | '\u{180E}' | '\u{200B}' | '\u{200E}' | '\u{200F}'
        | '\u{202A}'..='\u{202E}' | '\u{2060}'..='\u{206F}' | '\u{FEFF}'
        | '\u{FFF9}'..='\u{FFFB}' | '\u{E0000}'..='\u{E007F}')
}

fn breaks(c: char) -> bool {
    c.is_whitespace() || c.is_control() || matches!(c, '\u{2028}' | '\u{2029}')
}

fn cut(text: &str, bytes: usize) -> &str {
    let mut end = text.len().min(bytes);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.get(..end).unwrap_or_default()
}

/// A name on one line: invisible and direction characters taken out, runs of
/// white space made one space, at most `limits::NAME_BYTES_MAX` bytes. May be
/// empty.
#[must_use]
pub(crate) fn clean_name(text: &str) -> String {
    let mut out = String::new();
    for word in text.split(breaks) {
        let word: String = word.chars().filter(|c| !hides(*c)).collect();
        if !word.is_empty() {
            if !out.is_empty() {
                out.push(' ');
            }
            out.push_str(&word);
        }
    }
    cut(&out, NAME_BYTES_MAX).trim_end().to_owned()
}

/// A text of several lines: control and direction characters taken out, at
/// most `bytes` long.
#[must_use]
pub(crate) fn clean_text(text: &str, bytes: usize) -> String {
    let kept: String = text.chars().filter(|c| *c == '\n' || !(c.is_control() || hides(*c))).collect();
    cut(kept.trim(), bytes).trim_end().to_owned()
}

/// An error's words as a sentence: capital first, full stop last.
#[must_use]
pub(crate) fn sentence(text: &str) -> String {
    let text = text.trim();
    let mut chars = text.chars();
    let Some(first) = chars.next() else { return String::new() };
    let mut out: String = first.to_uppercase().chain(chars).collect();
    if !out.ends_with(['.', '!', '?']) {
        out.push('.');
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn names_cannot_hide_or_turn_anything() {
        assert_eq!(clean_name("  Åsa \t\n Lindqvist "), "Åsa Lindqvist");
        assert_eq!(clean_name("Bob\u{202E}evil\u{2066}\u{200B}"), "Bobevil");
        assert_eq!(clean_name("a\u{0}b\u{7f}c"), "a b c");
        assert_eq!(clean_name("\u{200B}\u{FEFF} "), "");
        assert_eq!(clean_name("👩\u{200D}🚀"), "👩\u{200D}🚀");
        assert!(clean_name(&"é".repeat(200)).len() <= NAME_BYTES_MAX);
    }

    #[test]
    fn sentences() {
        assert_eq!(sentence("the link is cut short"), "The link is cut short.");
        assert_eq!(sentence("Really?"), "Really?");
        assert_eq!(sentence(" "), "");
    }

    proptest! {
        #[test]
        fn cleaning_is_stable_and_bounded(text in "\\PC{0,300}") {
            let once = clean_name(&text);
            prop_assert!(once.len() <= NAME_BYTES_MAX);
            prop_assert_eq!(&clean_name(&once), &once);
            let text = clean_text(&text, 100);
            prop_assert!(text.len() <= 100);
        }
    }
}
