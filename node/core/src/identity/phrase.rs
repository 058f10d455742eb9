//! The 24 words (BIP-39, English): made, read back, checked.

use bip39::{Language, Mnemonic};
use kith_wire::crypto::{self, Secret};
use kith_wire::labels;
use rand_chacha::ChaCha20Rng;
use rand_core::{Rng as _, SeedableRng as _};
use zeroize::Zeroizing;

/// Words of a phrase.
const WORDS: usize = 24;
/// Typed text that is looked at, in bytes.
const TEXT_BYTES_MAX: usize = 4096;

/// Why typed words are no recovery phrase. A sentence for whoever typed them;
/// it names words that do not exist, never words that do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PhraseError {
    /// Too few or too many.
    #[error("a recovery phrase has 24 words, these are {0}")]
    Count(usize),
    /// Not in the list.
    #[error("word {number} (\"{word}\") is not in the list of words{}", hint(.suggestions))]
    Unknown {
        /// Which, from 1.
        number: usize,
        /// As typed, at most 20 characters.
        word: String,
        /// Words of the list that are close.
        suggestions: Vec<&'static str>,
    },
    /// All words exist, but they do not belong together.
    #[error("these words exist, but not in this order: compare them with your paper, word by word")]
    Checksum,
}

fn hint(suggestions: &[&str]) -> String {
    match suggestions {
        [] => String::new(),
        some => format!(": did you mean {}?", some.join(" or ")),
    }
}

/// The 24 words of 256 bits.
#[must_use]
pub fn words(entropy: &[u8; 32]) -> Vec<Zeroizing<String>> {
    // 32 bytes are always a valid length.
    let mnemonic = Mnemonic::from_entropy_in(Language::English, entropy);
    mnemonic.iter().flat_map(|m| m.words()).map(|w| Zeroizing::new(w.to_owned())).collect()
}

/// The 256 bits of typed words. Case, line breaks, numbers and commas between
/// them do not matter, nor does anything behind the first four letters.
pub fn entropy(typed: &str) -> Result<Zeroizing<[u8; 32]>, PhraseError> {
    let typed: Zeroizing<String> = Zeroizing::new(typed.chars().take(TEXT_BYTES_MAX).collect());
    let given: Vec<&str> =
        typed.split(|c: char| !c.is_alphabetic()).filter(|w| !w.is_empty()).take(WORDS * 4).collect();
    if given.len() != WORDS {
        return Err(PhraseError::Count(given.len()));
    }
    let mut list = Vec::with_capacity(WORDS);
    for (at, word) in given.iter().enumerate() {
        list.push(find(word).ok_or_else(|| PhraseError::Unknown {
            number: at + 1,
            word: word.chars().take(20).collect(),
            suggestions: suggestions(word),
        })?);
    }
    let phrase = Zeroizing::new(list.join(" "));
    let mnemonic =
        Mnemonic::parse_in_normalized(Language::English, &phrase).map_err(|_| PhraseError::Checksum)?;
    let (bytes, len) = mnemonic.to_entropy_array();
    let bytes = Zeroizing::new(bytes);
    match bytes.first_chunk::<32>() {
        Some(entropy) if len == 32 => Ok(Zeroizing::new(*entropy)),
        _ => Err(PhraseError::Checksum),
    }
}

/// A word of the list: exactly, or by its first four letters, which are
/// unique.
fn find(word: &str) -> Option<&'static str> {
    let word = word.to_lowercase();
    let list = Language::English.word_list();
    if let Ok(at) = list.binary_search(&word.as_str()) {
        return list.get(at).copied();
    }
    let start = word.get(..4).filter(|_| word.len() == 4)?;
    let mut found = list.iter().filter(|w| w.starts_with(start));
    match (found.next(), found.next()) {
        (Some(one), None) => Some(one),
        _ => None,
    }
}

/// Up to three words of the list that a typing error could have made into
/// this one.
#[must_use]
pub fn suggestions(word: &str) -> Vec<&'static str> {
    let word: Vec<char> = word.to_lowercase().chars().take(20).collect();
    let mut close: Vec<(usize, &'static str)> = Language::English
        .word_list()
        .iter()
        .map(|w| (distance(&word, &w.chars().collect::<Vec<_>>()), *w))
        .filter(|(d, _)| *d <= 2)
        .collect();
    close.sort();
    let nearest = close.first().map_or(0, |(d, _)| *d);
    close.into_iter().filter(|(d, _)| *d == nearest).take(3).map(|(_, w)| w).collect()
}

/// Optimal string alignment distance: one for each letter put in, left out,
/// changed, or swapped with its neighbour.
fn distance(a: &[char], b: &[char]) -> usize {
    let mut before: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.iter().enumerate() {
        let mut row = vec![i + 1];
        for (j, y) in b.iter().enumerate() {
            let at = |row: &[usize], k: usize| row.get(k).copied().unwrap_or(usize::MAX / 2);
            let mut best =
                (at(&last, j) + usize::from(x != y)).min(at(&last, j + 1) + 1).min(at(&row, j) + 1);
            let swapped = i > 0 && j > 0 && a.get(i - 1) == Some(y) && b.get(j - 1) == Some(x);
            if swapped {
                best = best.min(at(&before, j - 1) + 1);
            }
            row.push(best);
        }
        before = core::mem::replace(&mut last, row);
    }
    last.last().copied().unwrap_or(0)
}

/// Three different places, ascending from 0, at which the person repeats
/// words after writing them down. `seed` must be random.
#[must_use]
pub fn challenge(seed: [u8; 32]) -> [u32; 3] {
    let mut rng = ChaCha20Rng::from_seed(seed);
    // Drawing without replacement: each draw skips the places taken before.
    let mut taken: Vec<u32> = Vec::new();
    for left in (0..24u32).rev().take(3) {
        let mut place = below(&mut rng, left + 1);
        for t in &taken {
            if place >= *t {
                place += 1;
            }
        }
        taken.push(place);
        taken.sort_unstable();
    }
    let mut out = [0; 3];
    out.iter_mut().zip(taken).for_each(|(o, t)| *o = t);
    out
}

fn below(rng: &mut ChaCha20Rng, end: u32) -> u32 {
    // 64 bits over at most 24 places: the bias is below 2^-59.
    u32::try_from(rng.next_u64() % u64::from(end)).unwrap_or(0)
}

/// The key of the vault's second wrap, from typed words.
pub fn phrase_vault_key(typed: &str) -> Result<Secret, PhraseError> {
    Ok(phrase_vault_key_of(&*entropy(typed)?))
}

/// The key of the vault's second wrap, from the phrase's 256 bits.
#[must_use]
pub fn phrase_vault_key_of(entropy: &[u8; 32]) -> Secret {
    crypto::derive(&crypto::extract(labels::PHRASE, entropy), labels::PHRASE_VAULT, b"")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn joined(entropy: &[u8; 32]) -> String {
        words(entropy).iter().map(|w| w.as_str()).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn bip39_vectors() {
        // From the BIP's own list: all zeros, and 0x7f repeated.
        assert_eq!(joined(&[0; 32]), format!("{}art", "abandon ".repeat(23)));
        assert!(joined(&[0x7f; 32]).ends_with("legal winner thank year wave sausage worth title"));
        assert_eq!(*entropy(&joined(&[0x7f; 32])).unwrap(), [0x7f; 32]);
    }

    #[test]
    fn words_are_read_however_they_are_typed() {
        let phrase = joined(&[0x42; 32]);
        let short: Vec<String> = phrase.split(' ').map(|w| w.chars().take(4).collect()).collect();
        let numbered: String =
            phrase.split(' ').enumerate().map(|(i, w)| format!("{}. {w},\n", i + 1)).collect();
        for typed in [phrase.to_uppercase(), format!("  {phrase}\n"), short.join(" "), numbered] {
            assert_eq!(*entropy(&typed).unwrap(), [0x42; 32], "{typed}");
        }
    }

    #[test]
    fn mistakes_get_sentences() {
        let phrase = joined(&[0; 32]);
        assert_eq!(entropy("abandon art"), Err(PhraseError::Count(2)));
        let typo = phrase.replacen("abandon", "abandno", 1);
        let error = entropy(&typo).unwrap_err();
        assert_eq!(
            error.to_string(),
            "word 1 (\"abandno\") is not in the list of words: did you mean abandon?"
        );
        assert_eq!(entropy(&phrase.replacen("abandon", "zoo", 1)), Err(PhraseError::Checksum));
        assert!(entropy(&"é".repeat(100_000)).is_err());
    }

    #[test]
    fn golden_vault_key() {
        let key = phrase_vault_key(&joined(&[0; 32])).unwrap();
        assert_eq!(key, phrase_vault_key_of(&[0; 32]));
        assert_eq!(kith_wire::ids::BlobId(*key.expose()).hex(), GOLDEN);
    }
    const GOLDEN: &str = "d5299f91f9ba17f25c3b9aa939fdde27dad2a3993eb57f67905386f7ee260f29";

    proptest! {
        #[test]
        fn phrases_round_trip(bits: [u8; 32]) {
            prop_assert_eq!(*entropy(&joined(&bits)).unwrap(), bits);
        }

        #[test]
        fn challenges_name_three_places(seed: [u8; 32]) {
            let asked = challenge(seed);
            prop_assert!(asked[0] < asked[1] && asked[1] < asked[2] && asked[2] < 24);
        }

        #[test]
        fn noise_never_panics(text in "\\PC{0,300}") {
            let _ = entropy(&text);
            let _ = suggestions(&text);
        }
    }
}
