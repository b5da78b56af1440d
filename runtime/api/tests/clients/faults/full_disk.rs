//! The disk of the embedded default runs full while packages are published.

use std::{io::Write, path::Path, process::Command, time::Duration};

use super::{
    Client,
    state::{becomes_ready, settled, stored},
};
use crate::{Backend, Server, bounded};

const DISK_BYTES: usize = 48 << 20;
const ARCHIVE_BYTES: usize = 300_000;
/// What is left free for the publish: nothing, less than the archive, and little more than it.
const FREE_BYTES: [usize; 5] = [0, 120_000, 310_000, 360_000, 450_000];
/// A scan whose result found no room waits 8 to 12 s before its next attempt, then 16 to 24 s.
const RECOVERED_WITHIN: Duration = Duration::from_secs(60);

/// A small disk in memory; unmounted when dropped.
struct SmallDisk(tempfile::TempDir);

impl SmallDisk {
    /// `None` where this process may not mount.
    fn mount() -> Option<Self> {
        let dir = tempfile::tempdir().expect("a scratch directory");
        let size = format!("size={DISK_BYTES}");
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", &size, "tmpfs"]).arg(dir.path()).output();
        mounted.is_ok_and(|out| out.status.success()).then_some(Self(dir))
    }

    /// Fills it but for about this much.
    fn fill(&self, free_bytes: usize) {
        let reserve = self.0.path().join("reserve");
        std::fs::write(&reserve, vec![1; free_bytes]).expect("there is room to reserve");
        let mut filler = std::fs::File::create(self.0.path().join("filler")).expect("an empty file fits");
        let block = [1; 65536];
        while filler.write_all(&block).is_ok() {}
        // Blocks stop fitting before bytes do.
        while filler.write_all(&[1; 512]).is_ok() {}
        std::fs::remove_file(reserve).expect("just written");
    }

    fn free(&self) {
        std::fs::remove_file(self.0.path().join("filler")).expect("filled before");
    }

    fn path(&self) -> &Path {
        self.0.path()
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Lazily: a server that is being stopped may still have files open.
        let _ = Command::new("umount").arg("-l").arg(self.0.path()).status();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_refuses_publishes_and_breaks_nothing() {
    let Some(disk) = SmallDisk::mount() else {
        eprintln!("skipped: this process may not mount a small disk");
        return;
    };
    bounded(fill_again_and_again(disk)).await;
}

async fn fill_again_and_again(disk: SmallDisk) {
    let server = Server::start_on(Backend::Embedded, &[], disk.path().join("data")).await;
    let user = server.new_user("ada").await;
    let pid = server.pid();
    for client in Client::ALL {
        let upload = client.upload("steady", "1.0.0", 1000, 0);
        assert!(client.publish(&server, &user.token, &upload).await.is_ok());
    }
    settled(&server, RECOVERED_WITHIN).await;
    let (mut expected, _) = stored(&server).await;
    for (round, free) in FREE_BYTES.into_iter().enumerate() {
        let version = format!("1.{}.0", round + 1);
        let mut accepted = [false; 2];
        disk.fill(free);
        for (client, accepted) in Client::ALL.into_iter().zip(&mut accepted) {
            let upload = client.upload("steady", &version, ARCHIVE_BYTES, round as u64);
            let answer = client.publish(&server, &user.token, &upload).await;
            *accepted = answer.is_ok();
            if !answer.is_ok() {
                answer.is_unavailable(client);
            }
            if free < ARCHIVE_BYTES {
                assert!(!answer.is_ok(), "{client:?} with {free} bytes free: {answer:?}");
            }
            assert!(client.check_listed(&server, "steady").await.contains_key("1.0.0"), "reads go on");
        }
        disk.free();
        becomes_ready(&server, true, RECOVERED_WITHIN).await;
        settled(&server, RECOVERED_WITHIN).await;
        for (client, accepted) in Client::ALL.into_iter().zip(accepted) {
            let listed = client.check_listed(&server, "steady").await;
            assert!(listed.contains_key(&version) || !accepted, "{client:?} {version} was answered and is gone");
            if !listed.contains_key(&version) {
                let again = client.upload("steady", &version, ARCHIVE_BYTES, 99);
                let answer = client.publish(&server, &user.token, &again).await;
                assert!(answer.is_ok(), "{client:?} {version} was half stored: {answer:?}");
                assert!(client.check_listed(&server, "steady").await.contains_key(&version));
            }
            expected += 1;
        }
        let (blobs, unfinished) = stored(&server).await;
        assert_eq!(unfinished, 0, "temporary files stay behind with {free} bytes free");
        // A commit that failed leaves its blob to the collector, and nothing else does.
        assert!((expected..=expected + 2).contains(&blobs), "{blobs} blobs where {expected} are referred to");
        expected = blobs;
    }
    assert_eq!(server.pid(), pid, "nobody restarted it");
}
