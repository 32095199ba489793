//! A terminal's stream, which gives no more bytes than a session may send. Frames are counted by
//! [`super::meter`]; what the WebSocket's library reads without making a message of it, such as
//! endless empty fragments, is bounded here.

use std::io;
use std::num::NonZeroU32;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep_until};
use wardlink_service::bucket::Bucket;

/// How many seconds' bytes may come at once. More than [`super::meter`] allows: it decides first, and
/// this only what it cannot see.
const BURST: Duration = Duration::from_secs(4);

/// A stream whose reading pauses above its rate. Writing is as it was.
#[derive(Debug)]
pub(super) struct Metered<S> {
    inner: S,
    /// Bytes in a second.
    rate: NonZeroU32,
    bucket: Bucket,
    /// So many bytes may still be read; `None`: any number.
    left: Option<usize>,
    paused: Option<Pin<Box<Sleep>>>,
}

impl<S> Metered<S> {
    pub(super) fn new(inner: S, rate: NonZeroU32) -> Self {
        Self { inner, rate, bucket: Bucket::full(Instant::now()), left: None, paused: None }
    }

    /// Fails to read once about so many more bytes were read; `None`: never.
    pub(super) fn bound(&mut self, bytes: Option<usize>) {
        self.left = bytes;
    }

    /// Whether reading has failed, or will, for that reason.
    pub(super) fn is_over(&self) -> bool {
        self.left == Some(0)
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Metered<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if let Some(pause) = &mut self.paused {
            ready!(pause.as_mut().poll(cx));
            self.paused = None;
        }
        if self.left == Some(0) {
            return Poll::Ready(Err(io::ErrorKind::FileTooLarge.into()));
        }
        let before = buf.filled().len();
        ready!(Pin::new(&mut self.inner).poll_read(cx, buf))?;
        let (now, rate) = (Instant::now(), self.rate);
        let bytes = u32::try_from(buf.filled().len() - before).unwrap_or(u32::MAX);
        self.bucket.take(bytes, rate, now);
        self.left = self.left.map(|left| left.saturating_sub(bytes as usize));
        if self.bucket.used(now) > BURST {
            self.paused = Some(Box::pin(sleep_until(self.bucket.used_at_most(BURST))));
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Metered<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_stream_gives_its_rate_and_a_burst_before() {
        let rate = NonZeroU32::new(1_000).unwrap();
        let (mut writer, reader) = duplex(1 << 20);
        writer.write_all(&[7; 10_000]).await.unwrap();
        let mut metered = Metered::new(reader, rate);
        let begun = Instant::now();
        let mut bytes = [0; 100];
        for _ in 0..100 {
            metered.read_exact(&mut bytes).await.unwrap();
        }
        // Four seconds' worth at once, and the other 6,000 bytes at the rate.
        let took = begun.elapsed();
        assert!(
            took > Duration::from_millis(5_500) && took < Duration::from_millis(6_500),
            "{took:?}"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_stream_below_its_rate_never_waits() {
        let rate = NonZeroU32::new(1_000).unwrap();
        let (mut writer, reader) = duplex(1 << 20);
        let mut metered = Metered::new(reader, rate);
        for _ in 0..1_000 {
            writer.write_all(&[7; 90]).await.unwrap();
            let mut bytes = [0; 90];
            let begun = Instant::now();
            metered.read_exact(&mut bytes).await.unwrap();
            assert_eq!(begun.elapsed(), Duration::ZERO);
            tokio::time::advance(Duration::from_millis(100)).await;
        }
    }

    #[tokio::test]
    async fn a_bound_ends_reading_and_can_be_taken_away() {
        let (mut writer, reader) = duplex(1 << 10);
        writer.write_all(&[7; 300]).await.unwrap();
        let mut metered = Metered::new(reader, NonZeroU32::MAX);
        metered.bound(Some(150));
        let mut bytes = [0; 100];
        metered.read_exact(&mut bytes).await.unwrap();
        assert!(!metered.is_over());
        metered.read_exact(&mut bytes).await.unwrap();
        assert!(metered.is_over() && metered.read(&mut bytes).await.is_err());
        metered.bound(None);
        metered.read_exact(&mut bytes).await.unwrap();
    }
}
