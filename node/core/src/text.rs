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

/// Names that some systems take for a device.
const DEVICES: [&str; 22] = [
    "con", "prn", "aux", "nul", "com1", "com2", "com3", "com4", "com5", "com6", "com7", "com8", "com9",
    "lpt1", "lpt2", "lpt3", "lpt4", "lpt5", "lpt6", "lpt7", "lpt8", "lpt9",
];

/// A file's name that can be shown, and saved in any folder: no path, nothing
/// hidden, no name of a device, never empty, at most 200 bytes. The ending
/// stays.
#[must_use]
pub fn file_name(text: &str) -> String {
    let last = text.rsplit(['/', '\\']).next().unwrap_or_default();
    let kept: String = last
        .chars()
        .filter(|c| !(c.is_control() || hides(*c)))
        .map(|c| if matches!(c, '<' | '>' | ':' | '"' | '|' | '?' | '*') { '_' } else { c })
        .map(|c| if breaks(c) { ' ' } else { c })
        .collect();
    let unsaved = |c: char| c == '.' || c.is_whitespace();
    let kept = kept.trim_matches(unsaved);
    let (stem, ending) = match kept.rsplit_once('.') {
        Some((stem, ending)) if !stem.is_empty() && ending.len() <= 16 => (stem, Some(ending)),
        _ => (kept, None),
    };
    let stem = cut(stem, 180).trim_end_matches(unsaved);
    let first = kept.split('.').next().unwrap_or_default().trim_end().to_ascii_lowercase();
    let stem = if stem.is_empty() || DEVICES.contains(&first.as_str()) {
        format!("file {stem}")
    } else {
        stem.to_owned()
    };
    let stem = stem.trim_end();
    ending.map_or_else(|| stem.to_owned(), |ending| format!("{stem}.{ending}"))
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
    fn file_names_are_names_and_nothing_else() {
        for (given, clean) in [
            ("holiday.jpg", "holiday.jpg"),
            ("../../etc/passwd", "passwd"),
            ("C:\\Windows\\evil.exe", "evil.exe"),
            ("photo\u{202e}gpj.exe", "photogpj.exe"),
            ("CON", "file CON"),
            ("nul.txt", "file nul.txt"),
            ("com1 .tar.gz", "file com1 .tar.gz"),
            ("", "file"),
            ("...", "file"),
            (".bashrc", "bashrc"),
            ("a\nb\0c.txt ", "abc.txt"),
            ("what?<b>.html", "what__b_.html"),
            (
                "\u{43f}\u{440}\u{438}\u{432}\u{435}\u{442}.txt",
                "\u{43f}\u{440}\u{438}\u{432}\u{435}\u{442}.txt",
            ),
        ] {
            assert_eq!(file_name(given), clean, "{given:?}");
        }
        assert!(file_name(&"x".repeat(900)).len() <= 200);
        // Cut where a full stop stands.
        let cut_here = format!("{} .{}", "x".repeat(178), "y".repeat(40));
        assert_eq!(file_name(&cut_here), "x".repeat(178));
    }

    #[test]
    fn sentences() {
        assert_eq!(sentence("the link is cut short"), "The link is cut short.");
        assert_eq!(sentence("Really?"), "Really?");
        assert_eq!(sentence(" "), "");
    }

    proptest! {
        #[test]
        fn file_names_can_always_be_saved(text in "\\PC{0,300}") {
            let name = file_name(&text);
            prop_assert!(!name.is_empty() && name.len() <= 200 && !name.contains(['/', '\\', '\0']));
            prop_assert!(!name.starts_with('.') && !name.ends_with(['.', ' ']), "{name:?}");
        }

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
