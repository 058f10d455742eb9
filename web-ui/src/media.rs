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

/// Pixels of a picture that a browser is given to decode at most: it takes
/// four bytes for each, however small the file is.
pub(crate) const PIXELS_MAX: u64 = 150_000_000;

/// Whether a picture of this kind is small enough to be decoded, by what its
/// first chunk says. One that does not say how large it is counts as too large.
pub(crate) fn decodable(kind: &str, chunk: &[u8]) -> bool {
    let size = match kind {
        "image/jpeg" => jpeg_size(chunk),
        "image/png" => number(chunk, 16, 4, false).zip(number(chunk, 20, 4, false)),
        "image/gif" => number(chunk, 6, 2, true).zip(number(chunk, 8, 2, true)),
        "image/webp" => webp_size(chunk),
        "image/avif" => avif_size(chunk),
        _ => return true,
    };
    size.is_some_and(|(width, height)| width.saturating_mul(height) <= PIXELS_MAX)
}

/// A number of `len` bytes at `at`.
fn number(bytes: &[u8], at: usize, len: usize, little: bool) -> Option<u64> {
    let part = bytes.get(at..at.checked_add(len)?)?;
    let fold = |n: u64, b: &u8| n << 8 | u64::from(*b);
    Some(if little { part.iter().rev().fold(0, fold) } else { part.iter().fold(0, fold) })
}

/// Of the first frame header.
fn jpeg_size(bytes: &[u8]) -> Option<(u64, u64)> {
    let mut at = 2;
    loop {
        let (0xff, marker) = (*bytes.get(at)?, *bytes.get(at + 1)?) else { return None };
        match marker {
            0xff => at += 1,
            0xc0..=0xc3 | 0xc5..=0xc7 | 0xc9..=0xcb | 0xcd..=0xcf => {
                return number(bytes, at + 7, 2, false).zip(number(bytes, at + 5, 2, false));
            }
            0xd8..=0xda => return None,
            _ => at += 2 + usize::try_from(number(bytes, at + 2, 2, false)?).ok()?,
        }
    }
}

fn webp_size(bytes: &[u8]) -> Option<(u64, u64)> {
    match bytes.get(12..16)? {
        b"VP8 " => Some((number(bytes, 26, 2, true)? & 0x3fff, number(bytes, 28, 2, true)? & 0x3fff)),
        b"VP8L" => {
            let bits = number(bytes, 21, 4, true)?;
            Some(((bits & 0x3fff) + 1, (bits >> 14 & 0x3fff) + 1))
        }
        b"VP8X" => Some((number(bytes, 24, 3, true)? + 1, number(bytes, 27, 3, true)? + 1)),
        _ => None,
    }
}

/// The largest size that any of its parts states.
fn avif_size(bytes: &[u8]) -> Option<(u64, u64)> {
    let boxes = bytes.windows(4).enumerate().filter(|(_, name)| *name == b"ispe");
    // Behind the name: version and flags, width, height.
    boxes
        .filter_map(|(at, _)| number(bytes, at + 8, 4, false).zip(number(bytes, at + 12, 4, false)))
        .max_by_key(|(width, height)| width.saturating_mul(*height))
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
    fn a_small_file_that_is_a_huge_picture_is_not_decoded() {
        let png = |side: u32| {
            let side = side.to_be_bytes();
            [b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR".as_slice(), &side, &side, b"\x01\0"].concat()
        };
        assert!(decodable("image/png", &png(10_000)));
        assert!(!decodable("image/png", &png(30_000)));
        assert!(!decodable("image/png", &png(u32::MAX)));
        assert!(!decodable("image/png", b"\x89PNG\r\n\x1a\n"), "it does not say");
        let jpeg = |side: u16| {
            let side = side.to_be_bytes();
            [&[0xff, 0xd8, 0xff, 0xe0, 0, 4, 1, 2, 0xff, 0xc2, 0, 11, 8][..], &side, &side].concat()
        };
        assert!(decodable("image/jpeg", &jpeg(9_000)));
        assert!(!decodable("image/jpeg", &jpeg(60_000)));
        assert!(!decodable("image/jpeg", &[0xff, 0xd8, 0xff, 0xe0, 0, 0]), "it goes round in circles");
        let gif = |side: u16| [b"GIF89a".as_slice(), &side.to_le_bytes(), &side.to_le_bytes()].concat();
        assert!(decodable("image/gif", &gif(500)) && !decodable("image/gif", &gif(u16::MAX)));
        let webp = [b"RIFF0000WEBPVP8X0000\0\0\0\0".as_slice(), &[0xff; 6]].concat();
        assert!(!decodable("image/webp", &webp));
        let avif = |side: u32| {
            let side = side.to_be_bytes();
            [
                b"....ftypavif....ispe\0\0\0\0".as_slice(),
                &[0, 0, 0, 9, 0, 0, 0, 9],
                b"....ispe\0\0\0\0",
                &side,
                &side,
            ]
            .concat()
        };
        assert!(decodable("image/avif", &avif(4_000)) && !decodable("image/avif", &avif(40_000)));
        assert!(decodable("video/mp4", b""));
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
