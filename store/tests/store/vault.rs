//! The vault file: what opens it, what does not, and what is said then.

use kith_store::{Argon2Params, PASSPHRASE_BYTES_MAX, VaultError, VaultHeader, check_passphrase};
use kith_wire::cbor;
use kith_wire::crypto::Secret;
use proptest::prelude::*;
use sha2::{Digest, Sha256};

const PASSPHRASE: &str = "correct horse battery";

fn master() -> Secret {
    Secret::new([1; 32])
}

fn words() -> Secret {
    Secret::new([2; 32])
}

fn header() -> VaultHeader {
    VaultHeader::create(&master(), PASSPHRASE, &words(), Argon2Params::MIN, [3; 32]).unwrap()
}

/// The bytes of a file with this body and a checksum that fits.
fn file(body: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut e = minicbor::Encoder::new(&mut out);
    e.array(2).unwrap().bytes(body).unwrap().bytes(&Sha256::digest(body)).unwrap();
    out
}

fn body(bytes: &[u8]) -> Vec<u8> {
    let mut d = minicbor::Decoder::new(bytes);
    d.array().unwrap();
    d.bytes().unwrap().to_vec()
}

#[test]
fn passphrase_and_words_open_it_and_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("vault");
    assert_eq!(VaultHeader::read(&path).unwrap(), None);
    header().write(&path).unwrap();
    let read = VaultHeader::read(&path).unwrap().unwrap();
    assert_eq!(read, header());
    assert_eq!(read.unlock(PASSPHRASE).unwrap(), master());
    assert_eq!(read.recover(&words()).unwrap(), master());
    for wrong in ["", "correct horse batterz", "Correct horse battery", "correct horse battery "] {
        assert_eq!(read.unlock(wrong), Err(VaultError::WrongPassphrase));
    }
    assert_eq!(read.recover(&Secret::new([9; 32])), Err(VaultError::WrongWords));
    assert_eq!(read.unlock(&"x".repeat(PASSPHRASE_BYTES_MAX + 1)), Err(VaultError::PassphraseTooLong));
}

#[test]
fn a_new_passphrase_replaces_the_old_and_keeps_the_words() {
    let params = Argon2Params::new(20 << 10, 3, 1).unwrap();
    let changed = header().rewrap(&master(), "another passphrase", params, [4; 32]).unwrap();
    assert_eq!((changed.id(), changed.params()), (header().id(), params));
    assert_eq!(changed.unlock(PASSPHRASE), Err(VaultError::WrongPassphrase));
    assert_eq!(changed.unlock("another passphrase").unwrap(), master());
    assert_eq!(changed.recover(&words()).unwrap(), master());
    assert_eq!(header().rewrap(&master(), "short", params, [4; 32]), Err(VaultError::PassphraseTooShort));
}

#[test]
fn passphrases_are_counted_in_characters_and_compared_as_text() {
    assert_eq!(check_passphrase("1234567"), Err(VaultError::PassphraseTooShort));
    assert_eq!(check_passphrase("éééé"), Err(VaultError::PassphraseTooShort));
    assert_eq!(check_passphrase("пароль на каждый день"), Ok(()));
    assert_eq!(check_passphrase(&"é".repeat(512)), Ok(()));
    assert_eq!(check_passphrase(&"é".repeat(513)), Err(VaultError::PassphraseTooLong));
    // One passphrase, composed and decomposed.
    let made =
        VaultHeader::create(&master(), "caf\u{e9} au lait", &words(), Argon2Params::MIN, [3; 32]).unwrap();
    assert_eq!(made.unlock("cafe\u{301} au lait").unwrap(), master());
}

#[test]
fn a_damaged_file_is_not_taken_for_a_wrong_passphrase() {
    let whole = header().to_bytes();
    for n in 0..whole.len() {
        let mut flipped = whole.clone();
        flipped[n] ^= 0x10;
        for bad in [&flipped[..], &whole[..n], &[&whole[..], b"x"].concat()] {
            assert!(matches!(VaultHeader::from_bytes(bad), Err(VaultError::Damaged(_))), "byte {n}");
        }
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("vault");
    std::fs::write(&path, vec![0; 1 << 20]).unwrap();
    assert!(matches!(VaultHeader::read(&path), Err(VaultError::Damaged(_))));
    assert!(matches!(VaultHeader::read(folder.path()), Err(VaultError::Store(_))));
}

#[test]
fn newer_and_foreign_files_are_told_apart() {
    let good = body(&header().to_bytes());
    assert!(VaultHeader::from_bytes(&file(&good)).is_ok());
    // The body starts: map of 6, key 0, kind 200 (two bytes), key 1, version.
    assert_eq!(good[..6], [0xa6, 0, 0x18, 200, 1, 1]);
    let with = |at: usize, value: u8| {
        let mut body = good.clone();
        body[at] = value;
        VaultHeader::from_bytes(&file(&body))
    };
    assert_eq!(with(5, 2), Err(VaultError::Newer { found: 2, known: 1 }));
    assert!(matches!(with(5, 0), Err(VaultError::Damaged(_))));
    assert!(matches!(with(3, 201), Err(VaultError::Damaged(_))));
    // The schema stands behind key 3, after 16 bytes of id.
    assert_eq!(good[24..26], [3, 1]);
    assert_eq!(with(25, 9), Err(VaultError::Newer { found: 9, known: 1 }));
    // A newer version with a field that is unknown here is newer, not damaged.
    assert_eq!(
        VaultHeader::from_bytes(&file(&[0xa3, 0, 0x18, 200, 1, 2, 7, 0xf6])),
        Err(VaultError::Newer { found: 2, known: 1 })
    );
    for strange in [&[][..], &[0x80], &[0xa0], &[0xa1, 0, 0x18, 200], &cbor::encode(&"vault")] {
        assert!(matches!(VaultHeader::from_bytes(&file(strange)), Err(VaultError::Damaged(_))));
    }
}

#[test]
fn a_hostile_cost_is_refused_before_any_memory_is_taken() {
    for (memory, passes, lanes) in [
        (u32::MAX, 2, 1),
        ((256 << 10) + 1, 2, 1),
        (19 << 10, 33, 1),
        (19 << 10, 2, 5),
        (8, 2, 1),
        (19 << 10, 1, 1),
        (19 << 10, 2, 0),
    ] {
        assert_eq!(Argon2Params::new(memory, passes, lanes), Err(VaultError::Params));
        let good = body(&header().to_bytes());
        // [1, 19456, 2, 1]: the parameters as they lie in the file.
        let at = good.windows(7).position(|w| w == [0x84, 1, 0x19, 0x4c, 0x00, 2, 1]).unwrap();
        let mut params = Vec::new();
        let mut e = minicbor::Encoder::new(&mut params);
        e.array(4).unwrap().u8(1).unwrap().u32(memory).unwrap().u32(passes).unwrap().u32(lanes).unwrap();
        let bad = [&good[..at], &params, &good[at + 7..]].concat();
        let error = VaultHeader::from_bytes(&file(&bad)).unwrap_err();
        assert!(matches!(&error, VaultError::Damaged(why) if why.contains("cost")), "{error}");
    }
}

/// A file made with another implementation of the primitives, from
/// docs/protocol.md alone.
const FILE: &str = "\
    8258d4a60018c80101025003030303030303030303030303030303030104a4008401194c000201015004040404040404\
    040404040404040404025818050505050505050505050505050505050505050505050505035830500abd403a937f6e7b\
    f112f746b1bde432e05c2156402e926a09faccd271b905a3996c4fe742781f55abbf84933b795105a200581806060606\
    0606060606060606060606060606060606060606015830c4d994fab8bf6d2a68fc8611644d3dc0fe553762acbd223228\
    462ce9b50c544ae5e3b65f38d9d47bf5b6339641b7217958209c85f666bcc60b08f7b4e60385f77221654fe3e68ae493\
    98df0b7779f965cb7f";

#[test]
fn the_form_of_the_file_is_fixed() {
    let bytes = data_encoding::HEXLOWER.decode(FILE.as_bytes()).unwrap();
    let header = VaultHeader::from_bytes(&bytes).unwrap();
    assert_eq!(header.to_bytes(), bytes);
    assert_eq!((header.id(), header.params()), ([3; 16], Argon2Params::MIN));
    assert_eq!(header.unlock(PASSPHRASE).unwrap(), master());
    assert_eq!(header.recover(&words()).unwrap(), master());
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        prop_assert!(VaultHeader::from_bytes(&bytes).is_err());
        prop_assert!(VaultHeader::from_bytes(&file(&bytes)).is_err());
    }
}
