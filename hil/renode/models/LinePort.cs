// A UART's far end: whole pieces of bytes over a Unix socket, each at its virtual time.
//
//     emulation CreateLinePort "name" "/path/of/socket"
//     connector Connect sysbus.usart2 name
//
// hil/wires/line_port_codec.py describes the messages. A piece keeps the spacing of its bytes
// however late it comes, so that a busy host tears no frame. What the node sends leaves at the next
// point where machines and outside meet, with the virtual time of its first and last byte. A steady
// sign of virtual time lets the host work in it.
using System;
using System.Collections.Generic;
using System.Diagnostics;
using System.IO;
using System.Net.Sockets;
using System.Threading;
using Antmicro.Renode.Core;
using Antmicro.Renode.Peripherals.UART;
using Antmicro.Renode.Time;

namespace Antmicro.Renode.Peripherals.Tianfu
{
    public static class LinePortExtensions
    {
        public static void CreateLinePort(this Emulation emulation, string name, string path)
        {
            emulation.ExternalsManager.AddExternal(new LinePort(path), name);
        }
    }

    public class LinePort : IExternal, IConnectable<IUART>, IDisposable
    {
        public LinePort(string path)
        {
            listener = new Socket(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
            File.Delete(path);
            listener.Bind(new UnixDomainSocketEndPoint(path));
            listener.Listen(1);
            new Thread(Serve) { IsBackground = true, Name = "line port" }.Start();
        }

        public void AttachTo(IUART uart)
        {
            this.uart = uart;
            machine = uart.GetMachine();
            uart.CharReceived += Sent;
        }

        public void DetachFrom(IUART uart)
        {
            uart.CharReceived -= Sent;
            this.uart = null;
        }

        public void Dispose()
        {
            listener.Dispose();
            peer?.Dispose();
        }

        // Bytes that reached the UART, and pieces that came too late for their time.
        public long Received { get; private set; }

        public long Late { get; private set; }

        // --- from the host ---------------------------------------------------------------------

        private void Serve()
        {
            try
            {
                while(true)
                {
                    peer = listener.Accept();
                    try
                    {
                        Read(new NetworkStream(peer));
                    }
                    catch(IOException)
                    {
                    }
                    catch(ObjectDisposedException)
                    {
                    }
                    peer.Dispose();
                    // Nobody is there who could take back what waits.
                    Retract(0);
                    tickMicroseconds = 0;
                }
            }
            catch(SocketException)
            {
            }
            catch(ObjectDisposedException)
            {
            }
        }

        private void Read(Stream stream)
        {
            var head = new byte[HeadBytes];
            while(Fill(stream, head))
            {
                var body = new byte[head[1] | head[2] << 8];
                if(body.Length > MaxBody || !Fill(stream, body) || !Take(head[0], body))
                {
                    return;
                }
            }
        }

        private static bool Fill(Stream stream, byte[] into)
        {
            for(var at = 0; at < into.Length;)
            {
                var got = stream.Read(into, at, into.Length - at);
                if(got <= 0)
                {
                    return false;
                }
                at += got;
            }
            return true;
        }

        // Returns false for a message that is none: the connection ends.
        private bool Take(byte kind, byte[] body)
        {
            if(kind == PieceKind && body.Length > PieceHead && (body.Length - PieceHead) % 5 == 0)
            {
                var piece = new Piece(body);
                lock(pending)
                {
                    pending.Add(piece);
                }
                machine?.LocalTimeSource.ExecuteInNearestSyncedState(_ => Deliver(piece));
                return true;
            }
            if(kind == RetractKind && body.Length == 8)
            {
                Retract(BitConverter.ToInt64(body, 0));
                return true;
            }
            if(kind == TicksKind && body.Length == 4)
            {
                tickMicroseconds = BitConverter.ToUInt32(body, 0);
                if(tickMicroseconds > 0 && !ticking)
                {
                    ticking = true;
                    machine?.LocalTimeSource.ExecuteInNearestSyncedState(_ => Tick());
                }
                return true;
            }
            return false;
        }

        // Drops what has not reached the UART and is due at that time or later; 0: everything, and
        // what the node sent before, too.
        private void Retract(long from)
        {
            lock(pending)
            {
                foreach(var piece in pending)
                {
                    piece.Until = Math.Min(piece.Until, from);
                }
                free -= Math.Max(0, planned - from);
                planned = Math.Min(planned, from);
            }
            if(from == 0)
            {
                lock(sent)
                {
                    sent.Clear();
                }
            }
        }

        // --- to the UART -----------------------------------------------------------------------

        // The pause before a piece is the one that the host planned. If the piece before was late
        // it may be shorter, down to the silence that the node needs between two frames.
        private void Deliver(Piece piece)
        {
            var now = Now();
            lock(pending)
            {
                var pause = piece.Due == 0 ? piece.Gap : Math.Max(0, piece.Due - planned);
                piece.Begin = Math.Max(now + 1, piece.Due);
                piece.Begin = Math.Max(piece.Begin, free + Math.Min(pause, piece.Gap));
                var length = Math.Max(0, Math.Min(piece.Length, piece.Until - piece.Due));
                if(piece.Due != 0)
                {
                    planned = piece.Due + length;
                    Late += piece.Begin > piece.Due ? 1 : 0;
                }
                free = piece.Begin + length;
            }
            for(var i = 0; i < piece.Bytes.Length; i++)
            {
                var at = i;
                var wait = piece.Begin + piece.Offsets[i] - now;
                machine.ScheduleAction(TimeInterval.FromMicroseconds((ulong)wait), _ => Pass(piece, at), "line byte");
            }
        }

        private void Pass(Piece piece, int at)
        {
            lock(pending)
            {
                if(piece.Due + piece.Offsets[at] < piece.Until)
                {
                    piece.End = Now();
                    piece.Begin = piece.Passed == 0 ? piece.End : piece.Begin;
                    piece.Passed++;
                    Received++;
                }
                else
                {
                    at = -1;
                }
            }
            if(at >= 0)
            {
                uart?.WriteChar(piece.Bytes[at]);
            }
            piece.Left--;
            if(piece.Left == 0)
            {
                lock(pending)
                {
                    pending.Remove(piece);
                }
                var body = new byte[22];
                BitConverter.GetBytes(piece.Number).CopyTo(body, 0);
                BitConverter.GetBytes(piece.Begin).CopyTo(body, 4);
                BitConverter.GetBytes(piece.End).CopyTo(body, 12);
                BitConverter.GetBytes((ushort)piece.Passed).CopyTo(body, 20);
                Send(DeliveredKind, body);
            }
        }

        // --- to the host -----------------------------------------------------------------------

        private long Now()
        {
            return (long)machine.ElapsedVirtualTime.TimeElapsed.TotalMicroseconds;
        }

        private void Sent(byte value)
        {
            var now = Now();
            // Or the time has the grain of a quantum. The core's own is asked for: the machine's stands
            // while other machines have their turn.
            if(machine.SystemBus.TryGetCurrentCPU(out var cpu))
            {
                cpu.SyncTime();
                if(TimeDomainsManager.Instance.TryGetVirtualTimeStamp(out var stamp))
                {
                    now = (long)stamp.TimeElapsed.TotalMicroseconds;
                }
            }
            var begins = false;
            lock(sent)
            {
                if(sent.Count == 0)
                {
                    first = now;
                    begins = true;
                }
                last = now;
                sent.Add(value);
            }
            if(begins)
            {
                machine.LocalTimeSource.ExecuteInNearestSyncedState(_ => Pour());
            }
        }

        private void Pour()
        {
            lock(sent)
            {
                for(var at = 0; at < sent.Count; at += MaxSent)
                {
                    var count = Math.Min(MaxSent, sent.Count - at);
                    var body = new byte[16 + count];
                    BitConverter.GetBytes(first).CopyTo(body, 0);
                    BitConverter.GetBytes(last).CopyTo(body, 8);
                    sent.CopyTo(at, body, 16, count);
                    Send(SentKind, body);
                }
                sent.Clear();
            }
        }

        // At most one for each millisecond of the host, and none while the host does not read.
        private void Tick()
        {
            Pour();
            var now = Now();
            if(now - ticked >= tickMicroseconds && sinceTick.ElapsedMilliseconds >= 1 && Listens())
            {
                ticked = now;
                sinceTick.Restart();
                Send(NowKind, BitConverter.GetBytes(now));
            }
            ticking = tickMicroseconds > 0;
            if(ticking)
            {
                machine.LocalTimeSource.ExecuteInNearestSyncedState(_ => Tick());
            }
        }

        private bool Listens()
        {
            try
            {
                return peer != null && peer.Poll(0, SelectMode.SelectWrite);
            }
            catch(SocketException)
            {
                return false;
            }
            catch(ObjectDisposedException)
            {
                return false;
            }
        }

        private void Send(byte kind, byte[] body)
        {
            var message = new byte[HeadBytes + body.Length];
            message[0] = kind;
            BitConverter.GetBytes((ushort)body.Length).CopyTo(message, 1);
            body.CopyTo(message, HeadBytes);
            lock(sending)
            {
                try
                {
                    peer?.Send(message);
                }
                catch(SocketException)
                {
                }
                catch(ObjectDisposedException)
                {
                }
            }
        }

        private readonly Socket listener;
        private readonly List<Piece> pending = new List<Piece>();
        private readonly List<byte> sent = new List<byte>();
        private readonly object sending = new object();
        private readonly Stopwatch sinceTick = Stopwatch.StartNew();
        private Socket peer;
        private IUART uart;
        private IMachine machine;
        // Microseconds of virtual time: of what the node sent, of the last tick, of the end of the
        // last piece, and of that end as the host planned it.
        private long first, last, ticked, free, planned;
        private volatile uint tickMicroseconds;
        private volatile bool ticking;

        private const int HeadBytes = 3;
        private const int PieceHead = 16;
        private const int MaxBody = 4096;
        private const int MaxSent = 1024;
        private const byte PieceKind = 0x01;
        private const byte RetractKind = 0x02;
        private const byte TicksKind = 0x03;
        private const byte SentKind = 0x11;
        private const byte DeliveredKind = 0x12;
        private const byte NowKind = 0x13;

        private class Piece
        {
            public Piece(byte[] body)
            {
                Number = BitConverter.ToUInt32(body, 0);
                Due = BitConverter.ToInt64(body, 4);
                Gap = BitConverter.ToUInt32(body, 12);
                Left = (body.Length - PieceHead) / 5;
                Offsets = new long[Left];
                Bytes = new byte[Left];
                for(var i = 0; i < Left; i++)
                {
                    Offsets[i] = BitConverter.ToUInt32(body, PieceHead + 4 * i);
                    Bytes[i] = body[PieceHead + 4 * Left + i];
                }
            }

            public long Length
            {
                get { return Offsets[Offsets.Length - 1]; }
            }

            public readonly uint Number;
            public readonly long Due, Gap;
            public readonly long[] Offsets;
            public readonly byte[] Bytes;
            public long Until = long.MaxValue;
            public long Begin, End;
            public int Passed, Left;
        }
    }
}
