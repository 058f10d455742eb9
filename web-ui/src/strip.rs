//! Takes out of a picture what says where, when, by whom and with what it was
//! made: EXIF, XMP, IPTC, comments, embedded thumbnails, whatever stands
//! behind its end. The picture itself is not decoded and stays as it is, bit
//! by bit; of EXIF only the turn (orientation) stays.

/// Bytes of a picture that is cleaned at most.
pub(crate) const PICTURE_BYTES_MAX: usize = 96 << 20;

/// The cleaned picture; `None` if it cannot be read as what it begins as.
pub(crate) fn clean(bytes: &[u8]) -> Option<Vec<u8>> {
    match bytes {
        [0xff, 0xd8, ..] => jpeg(bytes),
        [0x89, b'P', b'N', b'G', ..] => png(bytes),
        [b'R', b'I', b'F', b'F', ..] => webp(bytes),
        _ => None,
    }
}

fn be16(bytes: &[u8], at: usize) -> Option<usize> {
    Some(usize::from(u16::from_be_bytes(*bytes.get(at..)?.first_chunk::<2>()?)))
}

fn jpeg(bytes: &[u8]) -> Option<Vec<u8>> {
    let mut out = vec![0xff, 0xd8];
    let mut at = 2;
    let mut turned = false;
    loop {
        // Any number of fill bytes may stand before a marker.
        while bytes.get(at) == Some(&0xff) && bytes.get(at + 1) == Some(&0xff) {
            at += 1;
        }
        let (0xff, marker) = (*bytes.get(at)?, *bytes.get(at + 1)?) else { return None };
        if marker == 0xd9 {
            out.extend([0xff, 0xd9]);
            return Some(out);
        }
        let len = be16(bytes, at + 2).filter(|len| *len >= 2)?;
        let segment = bytes.get(at..at + 2 + len)?;
        let body = segment.get(4..)?;
        match marker {
            0xe1 if body.starts_with(b"Exif\0\0") && !turned => {
                if let Some(turn) = orientation(body.get(6..)?).filter(|turn| (2..=8).contains(turn)) {
                    out.extend(turn_segment(turn));
                    turned = true;
                }
            }
            // Colour: JFIF, ICC profile, Adobe's transform.
            0xe0 if body.starts_with(b"JFIF\0") => out.extend(segment),
            0xe2 if body.starts_with(b"ICC_PROFILE\0") => out.extend(segment),
            0xee if body.starts_with(b"Adobe") => out.extend(segment),
            0xe0..=0xef | 0xfe => {}
            _ => out.extend(segment),
        }
        at += 2 + len;
        if marker == 0xda {
            let end = scan_end(bytes, at)?;
            out.extend(bytes.get(at..end)?);
            at = end;
        }
    }
}

/// Where the coded data of a scan ends: at the next marker that is no restart.
fn scan_end(bytes: &[u8], from: usize) -> Option<usize> {
    let mut at = from;
    loop {
        at += bytes.get(at..)?.iter().position(|b| *b == 0xff)?;
        match bytes.get(at + 1)? {
            0 | 0xd0..=0xd7 => at += 2,
            0xff => at += 1,
            _ => return Some(at),
        }
    }
}

/// The orientation tag (0x0112) of a TIFF header's first directory.
fn orientation(tiff: &[u8]) -> Option<u16> {
    let big = match tiff.get(..2)? {
        b"MM" => true,
        b"II" => false,
        _ => return None,
    };
    let short = |at: usize| {
        let two = *tiff.get(at..)?.first_chunk::<2>()?;
        Some(if big { u16::from_be_bytes(two) } else { u16::from_le_bytes(two) })
    };
    let four = *tiff.get(4..)?.first_chunk::<4>()?;
    let start =
        usize::try_from(if big { u32::from_be_bytes(four) } else { u32::from_le_bytes(four) }).ok()?;
    let entries = usize::from(short(start)?);
    (0..entries).find_map(|n| {
        let at = start.checked_add(2 + n * 12)?;
        if short(at)? == 0x0112 { short(at.checked_add(8)?) } else { None }
    })
}

/// EXIF with the orientation and nothing else.
fn turn_segment(turn: u16) -> Vec<u8> {
    let mut out = vec![0xff, 0xe1, 0, 34];
    out.extend(b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01");
    out.extend(turn.to_be_bytes());
    out.extend([0, 0, 0, 0, 0, 0]);
    out
}

/// PNG chunks that make the picture; whatever else there is says something
/// about it.
const PNG_KEPT: [&[u8; 4]; 17] = [
    b"IHDR", b"PLTE", b"IDAT", b"IEND", b"tRNS", b"gAMA", b"cHRM", b"sRGB", b"iCCP", b"sBIT", b"bKGD",
    b"pHYs", b"hIST", b"acTL", b"fcTL", b"fdAT", b"cICP",
];

fn png(bytes: &[u8]) -> Option<Vec<u8>> {
    let head = bytes.get(..8).filter(|head| *head == b"\x89PNG\r\n\x1a\n")?;
    let mut out = head.to_vec();
    let mut at = 8;
    loop {
        let len = usize::try_from(u32::from_be_bytes(*bytes.get(at..)?.first_chunk::<4>()?)).ok()?;
        let kind = bytes.get(at + 4..at + 8)?;
        let chunk = bytes.get(at..at.checked_add(len)?.checked_add(12)?)?;
        if PNG_KEPT.iter().any(|kept| *kept == kind) {
            out.extend(chunk);
        }
        if kind == b"IEND" {
            return Some(out);
        }
        at += chunk.len();
    }
}

fn webp(bytes: &[u8]) -> Option<Vec<u8>> {
    (bytes.get(8..12)? == b"WEBP").then_some(())?;
    let mut out = b"RIFF\0\0\0\0WEBP".to_vec();
    let end =
        bytes.len().min(8 + usize::try_from(u32::from_le_bytes(*bytes.get(4..)?.first_chunk::<4>()?)).ok()?);
    let mut at = 12;
    while at + 8 <= end {
        let kind = bytes.get(at..at + 4)?;
        let len = usize::try_from(u32::from_le_bytes(*bytes.get(at + 4..)?.first_chunk::<4>()?)).ok()?;
        let padded = len.checked_add(8)?.checked_add(len & 1)?;
        let chunk = bytes.get(at..(at + padded).min(end).max(at))?;
        if chunk.len() < len + 8 {
            return None;
        }
        match kind {
            b"VP8X" => {
                let mut chunk = chunk.to_vec();
                // The flags that announce EXIF and XMP.
                *chunk.get_mut(8)? &= !0x0c;
                out.extend(chunk);
            }
            b"VP8 " | b"VP8L" | b"ALPH" | b"ANIM" | b"ANMF" | b"ICCP" => out.extend(chunk),
            _ => {}
        }
        at += padded;
    }
    let size = u32::try_from(out.len() - 8).ok()?;
    out.get_mut(4..8)?.copy_from_slice(&size.to_le_bytes());
    (out.len() > 12).then_some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn segment(marker: u8, body: &[u8]) -> Vec<u8> {
        let mut out = vec![0xff, marker];
        out.extend(u16::try_from(body.len() + 2).unwrap().to_be_bytes());
        out.extend(body);
        out
    }

    /// A JPEG with everything that a telephone writes into one.
    fn telephone(turn: u16) -> Vec<u8> {
        let mut exif = b"Exif\0\0II*\0\x08\0\0\0\x02\0".to_vec();
        exif.extend([0x12, 0x01, 3, 0, 1, 0, 0, 0]);
        exif.extend(turn.to_le_bytes());
        exif.extend([0, 0]);
        exif.extend([0x25, 0x88, 4, 0, 1, 0, 0, 0, 0, 0, 0, 0]);
        exif.extend(b"GPS 52.5 13.4");
        let mut out = vec![0xff, 0xd8];
        out.extend(segment(0xe0, b"JFIF\0\x01\x02"));
        out.extend(segment(0xe1, &exif));
        out.extend(segment(0xe1, b"http://ns.adobe.com/xap/1.0/\0GPS in XMP"));
        out.extend(segment(0xe2, b"ICC_PROFILE\0colours"));
        out.extend(segment(0xed, b"Photoshop GPS in IPTC"));
        out.extend(segment(0xfe, b"GPS in a comment"));
        out.extend(segment(0xdb, b"tables"));
        out.extend(segment(0xc0, b"frame"));
        out.extend(segment(0xda, b"scan"));
        out.extend([1, 0xff, 0, 2, 0xff, 0xd3, 3]);
        out.extend(segment(0xc4, b"more"));
        out.extend(segment(0xda, b"scan"));
        out.extend([4, 5, 0xff, 0xd9]);
        out.extend(b"a film with GPS behind the end");
        out
    }

    fn has(bytes: &[u8], what: &[u8]) -> bool {
        bytes.windows(what.len()).any(|w| w == what)
    }

    #[test]
    fn a_jpeg_keeps_its_picture_colours_and_turn_and_nothing_else() {
        for turn in [1, 6] {
            let cleaned = clean(&telephone(turn)).unwrap();
            assert!(!has(&cleaned, b"GPS") && !has(&cleaned, b"xap"));
            for kept in
                [&b"JFIF"[..], b"colours", b"tables", b"frame", &[1, 0xff, 0, 2, 0xff, 0xd3, 3], b"more"]
            {
                assert!(has(&cleaned, kept), "{kept:?}");
            }
            assert!(cleaned.ends_with(&[4, 5, 0xff, 0xd9]));
            assert_eq!(has(&cleaned, b"Exif"), turn == 6);
            let found =
                cleaned.windows(6).position(|w| w == b"Exif\0\0").map(|at| orientation(&cleaned[at + 6..]));
            assert_eq!(found.flatten(), (turn == 6).then_some(6));
            assert_eq!(clean(&cleaned).unwrap(), cleaned, "nothing more to take out");
        }
    }

    #[test]
    fn png_and_webp_lose_their_words() {
        let chunk = |kind: &[u8], body: &[u8]| {
            [&u32::try_from(body.len()).unwrap().to_be_bytes()[..], kind, body, &[0; 4]].concat()
        };
        let png = [
            b"\x89PNG\r\n\x1a\n".to_vec(),
            chunk(b"IHDR", b"size"),
            chunk(b"eXIf", b"GPS"),
            chunk(b"iTXt", b"XMP GPS"),
            chunk(b"tIME", b"when"),
            chunk(b"IDAT", b"pixels"),
            chunk(b"IEND", b""),
            b"GPS".to_vec(),
        ]
        .concat();
        let cleaned = clean(&png).unwrap();
        assert!(!has(&cleaned, b"GPS") && !has(&cleaned, b"when") && has(&cleaned, b"pixels"));
        assert!(clean(&png[..png.len() - 20]).is_none());
        let chunk = |kind: &[u8], body: &[u8]| {
            let pad = vec![0; body.len() & 1];
            [kind, &u32::try_from(body.len()).unwrap().to_le_bytes()[..], body, &pad].concat()
        };
        let inner = [
            b"WEBP".to_vec(),
            chunk(b"VP8X", &[0x0c | 0x10, 0, 0, 0, 9, 0, 0, 9, 0, 0]),
            chunk(b"VP8 ", b"pixel"),
            chunk(b"EXIF", b"GPS"),
            chunk(b"XMP ", b"GPS"),
        ]
        .concat();
        let webp =
            [b"RIFF".to_vec(), u32::try_from(inner.len()).unwrap().to_le_bytes().to_vec(), inner].concat();
        let cleaned = clean(&webp).unwrap();
        assert!(!has(&cleaned, b"GPS") && has(&cleaned, b"pixel"));
        assert_eq!(cleaned[20], 0x10);
        assert_eq!(u32::from_le_bytes(cleaned[4..8].try_into().unwrap()) as usize, cleaned.len() - 8);
    }

    #[test]
    fn what_is_cut_short_or_lies_is_not_passed_on() {
        let whole = telephone(6);
        for end in 0..whole.len() - 32 {
            assert!(clean(&whole[..end]).is_none(), "{end}");
        }
        // Every byte turned once: no panic, and never the place.
        for at in 0..whole.len() {
            let mut bent = whole.clone();
            bent[at] ^= 0x55;
            let _ = clean(&bent);
        }
        assert!(clean(b"RIFF\xff\xff\xff\xffWEBPVP8 \xff\xff\xff\xff").is_none());
    }
}
