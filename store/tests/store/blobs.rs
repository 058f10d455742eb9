//! Files on disk: what was settled is there after a crash, what was not is
//! not claimed, and nothing of a file can be read without its key.

use std::fs;

use kith_store::{BlobFolder, StoreError};
use kith_wire::blob::tree::{Blob, Index, SealedChunk, Sealer, Spot};
use kith_wire::crypto::Secret;

const CHUNK: usize = 256 << 10;
const NAME: [u8; 16] = [7; 16];

fn sealed(plain: &[u8]) -> (Blob, Vec<SealedChunk>) {
    let mut sealer = Sealer::new(Secret::new([3; 32]), plain.len() as u64).unwrap();
    let mut chunks = Vec::new();
    for part in plain.chunks(CHUNK) {
        chunks.push(sealer.chunk(part).unwrap());
    }
    let (blob, lists) = sealer.finish().unwrap();
    chunks.extend(lists);
    (blob, chunks)
}

#[test]
fn what_is_settled_survives_and_what_is_only_written_is_not_claimed() {
    let dir = tempfile::tempdir().unwrap();
    let folder = BlobFolder::open(&dir.path().join("files")).unwrap();
    let plain: Vec<u8> = (0..3 * CHUNK + 100).map(|i| (i % 249) as u8).collect();
    let (blob, chunks) = sealed(&plain);
    let tree = blob.tree().unwrap();
    {
        let file = folder.file(&NAME, &tree).unwrap();
        for chunk in &chunks {
            file.write(chunk.spot, &chunk.bytes).unwrap();
        }
        file.settle(&[Spot::data(1), tree.top()]).unwrap();
        assert_eq!((file.held(), file.complete()), (1, false));
        assert_eq!(file.read(Spot::data(0)).unwrap(), None);
    }
    // As after a kill: opened anew, by the same rules.
    let folder = BlobFolder::open(&dir.path().join("files")).unwrap();
    let file = folder.file(&NAME, &tree).unwrap();
    assert_eq!((file.held(), file.holds()), (1, vec![0b10]));
    assert!(file.has(tree.top()) && !file.has(Spot::data(0)));
    let rest: Vec<Spot> = [0, 2, 3].map(Spot::data).to_vec();
    file.settle(&rest).unwrap();
    assert!(file.complete());
    assert_eq!(file.held_bytes(), plain.len() as u64);
    let mut index = Index::new(blob).unwrap();
    index.take(tree.top(), &file.read(tree.top()).unwrap().unwrap()).unwrap();
    let mut back = Vec::new();
    for i in 0..tree.data_chunks() {
        back.extend(index.open(i, &file.read(Spot::data(i)).unwrap().unwrap()).unwrap().unwrap());
    }
    assert_eq!(back, plain);
    file.forget(&[Spot::data(2)]).unwrap();
    assert_eq!((file.complete(), file.read(Spot::data(2)).unwrap()), (false, None));
}

#[test]
fn damage_to_the_files_is_a_chunk_less_and_never_a_wrong_one() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("files");
    let folder = BlobFolder::open(&path).unwrap();
    let (blob, chunks) = sealed(&vec![5; CHUNK + 1]);
    let tree = blob.tree().unwrap();
    let file = folder.file(&NAME, &tree).unwrap();
    for chunk in &chunks {
        file.write(chunk.spot, &chunk.bytes).unwrap();
    }
    file.settle(&chunks.iter().map(|c| c.spot).collect::<Vec<_>>()).unwrap();
    assert!(matches!(file.write(Spot::data(9), &[0]), Err(StoreError::Io(_))));
    assert!(file.write(Spot::data(0), &[0; 9]).is_err());
    drop(file);
    let inner = path.join("07".repeat(16));
    fs::File::options().write(true).open(inner.join("data")).unwrap().set_len(CHUNK as u64).unwrap();
    let file = folder.file(&NAME, &tree).unwrap();
    assert_eq!(file.read(Spot::data(1)).unwrap(), None);
    assert!(!file.has(Spot::data(1)));
    // A map that is longer or shorter than the file is read as far as it goes.
    fs::write(inner.join("have"), [0xff; 99]).unwrap();
    assert!(folder.file(&NAME, &tree).unwrap().complete());
    fs::write(inner.join("have"), []).unwrap();
    assert_eq!(folder.file(&NAME, &tree).unwrap().held(), 0);
}

#[test]
fn files_are_made_whole_removed_whole_and_strays_go() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("files");
    let folder = BlobFolder::open(&path).unwrap();
    let (blob, chunks) = sealed(b"a few words that nobody else reads");
    let tree = blob.tree().unwrap();
    let file = folder.begin(&[1; 16], &tree).unwrap();
    file.write(chunks[0].spot, &chunks[0].bytes).unwrap();
    file.settle(&[chunks[0].spot]).unwrap();
    folder.publish(&[1; 16], &blob.folder()).unwrap();
    assert!(folder.exists(&blob.folder()) && folder.bytes(&blob.folder()) > 0);
    assert!(folder.free_bytes().unwrap() > 0);
    for entry in
        fs::read_dir(path.join(fs::read_dir(&path).unwrap().next().unwrap().unwrap().file_name())).unwrap()
    {
        let bytes = fs::read(entry.unwrap().path()).unwrap();
        assert!(!bytes.windows(5).any(|w| w == b"words"));
    }
    folder.begin(&[2; 16], &tree).unwrap();
    let folder = BlobFolder::open(&path).unwrap();
    assert_eq!(fs::read_dir(&path).unwrap().count(), 1, "what was half made is gone");
    folder.file(&[3; 16], &tree).unwrap();
    assert_eq!(folder.retain(&|name| *name == blob.folder()).unwrap(), 1);
    folder.abandon(&[9; 16]).unwrap();
    folder.remove(&blob.folder()).unwrap();
    folder.remove(&blob.folder()).unwrap();
    assert!(!folder.exists(&blob.folder()));
}

/// A disk of our own that is full soon; gone at the end. `None` where we may
/// not make one.
struct SmallDisk(std::path::PathBuf);

impl SmallDisk {
    fn new(at: &std::path::Path, kib: u32) -> Option<Self> {
        let size = format!("size={kib}k");
        let mounted = std::process::Command::new("mount")
            .args(["-t", "tmpfs", "-o", &size, "none"])
            .arg(at)
            .stderr(std::process::Stdio::null())
            .status();
        mounted.is_ok_and(|status| status.success()).then(|| Self(at.to_owned()))
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _gone = std::process::Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

#[test]
fn on_a_full_disk_nothing_is_claimed_and_it_goes_on_when_there_is_space() {
    let dir = tempfile::tempdir().unwrap();
    let Some(disk) = SmallDisk::new(dir.path(), 1_200) else {
        println!("skipped: a disk of our own needs the rights of root");
        return;
    };
    let folder = BlobFolder::open(&disk.0).unwrap();
    let (blob, chunks) = sealed(&vec![5; 3 * CHUNK]);
    let tree = blob.tree().unwrap();
    let file = folder.file(&NAME, &tree).unwrap();
    file.write(chunks[0].spot, &chunks[0].bytes).unwrap();
    file.write(chunks[1].spot, &chunks[1].bytes).unwrap();
    // Somebody else takes the rest.
    let ballast = disk.0.join("ballast");
    let mut other = fs::File::create(&ballast).unwrap();
    while std::io::Write::write_all(&mut other, &[0; 4096]).is_ok() {}
    assert!(matches!(file.write(chunks[2].spot, &chunks[2].bytes), Err(StoreError::Full(_))));
    let both = [chunks[0].spot, chunks[1].spot];
    assert!(matches!(file.settle(&both), Err(StoreError::Full(_))), "there is no room for the map");
    assert_eq!((file.held(), file.read(chunks[0].spot).unwrap()), (0, None));
    assert_eq!(folder.file(&NAME, &tree).unwrap().held(), 0);
    drop(other);
    fs::remove_file(&ballast).unwrap();
    for chunk in &chunks {
        file.write(chunk.spot, &chunk.bytes).unwrap();
    }
    file.settle(&chunks.iter().map(|c| c.spot).collect::<Vec<_>>()).unwrap();
    assert!(file.complete() && folder.file(&NAME, &tree).unwrap().complete());
}
