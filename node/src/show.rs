//! How answers look at a terminal: text from others is stripped of control
//! characters, so that a message cannot move the cursor.

use std::time::{SystemTime, UNIX_EPOCH};

use kith_core::view::{CallOutcome, Content, Message};

/// Text from others on one terminal line.
pub(crate) fn line(text: &str) -> String {
    text.chars().map(|c| if is_unsafe(c) { '\u{fffd}' } else { c }).collect()
}

/// Text from others that may have lines.
pub(crate) fn lines(text: &str) -> String {
    text.chars().map(|c| if c != '\n' && c != '\t' && is_unsafe(c) { '\u{fffd}' } else { c }).collect()
}

fn is_unsafe(c: char) -> bool {
    // Controls, and the bidirectional overrides that can disguise a line.
    c.is_control() || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// `2026-03-14 09:26` in UTC.
pub(crate) fn time(at_ms: u64) -> String {
    let days = at_ms / 86_400_000;
    let minutes = at_ms / 60_000 % 1440;
    let (year, month, day) = civil(days);
    format!("{year:04}-{month:02}-{day:02} {:02}:{:02}", minutes / 60, minutes % 60)
}

/// Days since 1970 as a date (H. Hinnant, "chrono-compatible low-level date algorithms").
fn civil(days: u64) -> (u64, u64, u64) {
    let z = days + 719_468;
    let (era, of_era) = (z / 146_097, z % 146_097);
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * of_year + 2) / 153;
    let day = of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    (year_of_era + era * 400 + u64::from(month <= 2), month, day)
}

/// How long until a time, in the largest fitting unit.
pub(crate) fn until(at_ms: u64) -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs());
    match (at_ms / 1000).saturating_sub(now) {
        0 => "expired".into(),
        s if s < 7200 => format!("{} min left", s.div_ceil(60)),
        s if s < 172_800 => format!("{} h left", s / 3600),
        s => format!("{} days left", s / 86_400),
    }
}

/// One timeline row.
pub(crate) fn message(message: &Message) -> String {
    let (at, author) = (time(message.at), line(&message.author_name));
    match &message.content {
        Content::Text { text } => format!("{at}  {author}: {}", lines(text).replace('\n', "\n    ")),
        Content::File { file, caption } => {
            let words = if caption.is_empty() {
                String::new()
            } else {
                format!("\n    {}", lines(caption).replace('\n', "\n    "))
            };
            format!("{at}  {author}: [file {} · {} bytes · {}]{words}", line(&file.name), file.size, file.id)
        }
        Content::Notice { code, args } => {
            let args: Vec<String> = args.iter().map(|a| line(a)).collect();
            format!("{at}  * {author} {} {}", line(code), args.join(", "))
        }
        Content::Report { author_name, quote, reason, open, .. } => {
            let of = line(author_name);
            let (quote, reason) = (line(quote), line(reason));
            let state = if *open { "" } else { " (settled)" };
            format!("{at}  ! {author} reported a message of {of}{state}: {quote}\n    {reason}")
                .trim_end()
                .to_owned()
        }
        Content::Call { outgoing, video, outcome, talked_ms, .. } => {
            let what = if *video { "video call" } else { "voice call" };
            let way = if *outgoing { "you called" } else { "you were called" };
            let end = match outcome {
                CallOutcome::Answered => format!("{} s", talked_ms / 1000),
                CallOutcome::Unanswered => "no answer".to_owned(),
                CallOutcome::Declined => "declined".to_owned(),
                CallOutcome::Busy => "busy".to_owned(),
                CallOutcome::Cancelled => "cancelled".to_owned(),
                CallOutcome::Failed => "no connection".to_owned(),
                CallOutcome::GaveWay => "gave way to another call".to_owned(),
            };
            format!("{at}  * {way}: {what}, {end}")
        }
        Content::Newer => format!("{at}  {author}: (this needs a newer Kith)"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_from_others_cannot_steer_the_terminal() {
        assert_eq!(line("a\u{1b}[2Jb\u{202e}c\n"), "a\u{fffd}[2Jb\u{fffd}c\u{fffd}");
        assert_eq!(lines("a\nb\u{7}"), "a\nb\u{fffd}");
    }

    #[test]
    fn dates_are_those_of_the_calendar() {
        assert_eq!(time(0), "1970-01-01 00:00");
        assert_eq!(time(951_827_640_000), "2000-02-29 12:34");
    }
}
