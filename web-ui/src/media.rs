//! What a file is by its first bytes, whatever its sender says of it, and how
//! it may be shown: only as a picture, film or recording that browsers decode
//! without running anything. Everything else is saved, never opened here.

/// Bytes that are enough to tell.
pub(crate) const HEAD_BYTES: usize = 64;

/// The type to serve for showing in place; `None` = only to be saved.
/// `claimed` decides between picture and sound where a container holds both.
pub(crate) fn shown(head: &[u8], claimed: &str) -> Option<&'static str> {
    let audio = claimed.starts_with("audio/");
    let at = |from: usize, bytes: &[u8]| head.get(from..from + bytes.len()) == Some(bytes);
    if at(0, &[0xff, 0xd8, 0xff]) {
        return Some("image/jpeg");
    }
    if at(0, b"\x89PNG\r\n\x1a\n") {
        return Some("image/png");
    }
    if at(0, b"GIF87a") || at(0, b"GIF89a") {
        return Some("image/gif");
    }
    if at(0, b"RIFF") {
        return match head.get(8..12)? {
            b"WEBP" => Some("image/webp"),
            b"WAVE" => Some("audio/wav"),
            _ => None,
        };
    }
    if at(4, b"ftyp") {
        return match head.get(8..12)? {
            b"avif" | b"avis" => Some("image/avif"),
            b"M4A " | b"M4B " => Some("audio/mp4"),
            b"heic" | b"heix" | b"mif1" | b"msf1" | b"heim" | b"hevc" => None,
            _ if audio => Some("audio/mp4"),
            _ => Some("video/mp4"),
        };
    }
    if at(0, &[0x1a, 0x45, 0xdf, 0xa3]) {
        return Some(if audio { "audio/webm" } else { "video/webm" });
    }
    if at(0, b"OggS") {
        return Some(if claimed.starts_with("video/") { "video/ogg" } else { "audio/ogg" });
    }
    if at(0, b"fLaC") {
        return Some("audio/flac");
    }
    let frame = head.first() == Some(&0xff) && head.get(1).is_some_and(|b| b & 0xe6 == 0xe2);
    if at(0, b"ID3") || frame && audio {
        return Some("audio/mpeg");
    }
    None
}

/// Whether it is a picture whose metadata can be taken out, or of a kind that
/// is known to carry some and cannot be cleaned here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Picture {
    /// [`crate::strip`] knows it.
    Cleanable,
    /// HEIC, AVIF, TIFF and raw pictures.
    Opaque,
    /// No picture with metadata.
    No,
}

/// What kind of picture a file is, for cleaning.
pub(crate) fn picture(head: &[u8]) -> Picture {
    match shown(head, "") {
        Some("image/jpeg" | "image/png" | "image/webp") => return Picture::Cleanable,
        Some("image/avif") => return Picture::Opaque,
        _ => {}
    }
    let heic = head.get(4..8) == Some(b"ftyp") && shown(head, "").is_none();
    let tiff = matches!(head.get(..4), Some(b"II*\0" | b"MM\0*"));
    if heic || tiff { Picture::Opaque } else { Picture::No }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_could_run_is_only_saved() {
        for text in [
            "<svg xmlns='http://www.w3.org/2000/svg' onload='alert(1)'/>",
            "<!doctype html><script>alert(1)</script>",
            "%PDF-1.7",
            "#!/bin/sh",
            "PK\u{3}\u{4}",
            "",
            "GIF",
            "RIFF1234",
        ] {
            for claimed in ["image/svg+xml", "text/html", "image/png", "video/mp4", "audio/mpeg"] {
                assert_eq!(shown(text.as_bytes(), claimed), None, "{text:?} as {claimed}");
            }
        }
    }

    #[test]
    fn the_bytes_decide_and_not_the_name() {
        assert_eq!(shown(b"\x89PNG\r\n\x1a\n....", "text/html"), Some("image/png"));
        assert_eq!(shown(b"\0\0\0\x20ftypisom", ""), Some("video/mp4"));
        assert_eq!(shown(b"\0\0\0\x20ftypisom", "audio/mp4"), Some("audio/mp4"));
        assert_eq!(shown(b"\x1a\x45\xdf\xa3", "audio/webm;codecs=opus"), Some("audio/webm"));
        assert_eq!(shown(b"OggS", "text/html"), Some("audio/ogg"));
        assert_eq!(picture(&[0xff, 0xd8, 0xff, 0xe1]), Picture::Cleanable);
        assert_eq!(picture(b"\0\0\0\x20ftypheic"), Picture::Opaque);
        assert_eq!(picture(b"II*\0...."), Picture::Opaque);
        assert_eq!(picture(b"\0\0\0\x20ftypisom"), Picture::No);
    }
}
