//! Streams for files: on direct connections, in order, refused without one.

use kith_overlay::BlobError;

use super::{Node, PATIENCE, QUIC, TCP};

#[tokio::test]
async fn a_file_stream_goes_both_ways_on_quic_and_tcp() {
    for listen in [QUIC, TCP] {
        let mut a = Node::start(1, &[listen]).await;
        let mut b = Node::start(2, &[listen]).await;
        let mut incoming = b.handle.take_blobs().unwrap();
        assert!(b.handle.take_blobs().is_none());
        assert_eq!(a.handle.open_blob(b.key()).await.err(), Some(BlobError::NoConnection));
        a.dial(b.key(), &b.addrs);
        a.up().await;
        b.up().await;
        let mut mine = a.handle.open_blob(b.key()).await.unwrap();
        mine.writer.send(b"want").await.unwrap();
        mine.writer.flush().await.unwrap();
        let mut theirs = tokio::time::timeout(PATIENCE, incoming.recv()).await.unwrap().unwrap();
        assert_eq!((mine.peer, theirs.peer), (b.key(), a.key()));
        assert_eq!(theirs.reader.next(9).await.unwrap().unwrap(), b"want");
        let large = vec![7; 300 << 10];
        let sending = async {
            for _ in 0..40 {
                theirs.writer.send(&large).await.unwrap();
            }
            theirs.writer.close().await;
        };
        let reading = async {
            let mut frames = 0;
            while let Some(frame) = mine.reader.next(large.len()).await.unwrap() {
                assert_eq!(frame, large);
                frames += 1;
            }
            frames
        };
        assert_eq!(tokio::join!(sending, reading).1, 40);
        mine.writer.send(b"too large for the other side").await.unwrap();
        mine.writer.flush().await.unwrap();
        assert!(theirs.reader.next(9).await.is_err());
        drop(incoming);
        a.handle.shutdown().await;
        assert_eq!(a.handle.open_blob(b.key()).await.err(), Some(BlobError::Closed));
    }
}
