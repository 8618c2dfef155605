// The names of Renode that our models (hil/renode/models/*.cs) use, for a compiler without Renode.
//
// Written from the names alone: what is not used is not here, and only memory does anything.
//
//     checked with 1.16.1, commit add012af         Sht3xModel, NodeWatch without its pause and uptime, and
//                                                  the first LinePort compiled there and ran; each name
//                                                  was looked up in the source
//     checked with its head, commit 0c7d0762       of 2026-08-21: each name was looked up in the source
//
// A model that uses a name which is not here does not compile: look the name up in both versions,
// and add it.
using System;
using Antmicro.Renode.Core;
using Antmicro.Renode.Peripherals.Bus;
using Antmicro.Renode.Peripherals.CPU;
using Antmicro.Renode.Time;

namespace Antmicro.Renode.Time
{
    public struct TimeInterval
    {
        public static TimeInterval FromMicroseconds(ulong microseconds) { return new TimeInterval { us = microseconds }; }
        public double TotalMicroseconds { get { return us; } }
        private ulong us;
    }

    public struct TimeStamp
    {
        public TimeStamp(TimeInterval elapsed) : this() { TimeElapsed = elapsed; }
        public TimeInterval TimeElapsed { get; private set; }
    }

    public class TimeDomainsManager
    {
        public static TimeDomainsManager Instance = new TimeDomainsManager();
        public bool TryGetVirtualTimeStamp(out TimeStamp stamp) { stamp = new TimeStamp(); return false; }
    }

    public abstract class TimeSourceBase
    {
        public abstract void ExecuteInNearestSyncedState(Action<TimeStamp> what, bool executeImmediately = false);
    }
}

namespace Antmicro.Renode.Peripherals
{
    public interface IPeripheral
    {
        void Reset();
    }

    public static class IPeripheralExtensions
    {
        public static IMachine GetMachine(this IPeripheral peripheral) { return null; }
    }
}

namespace Antmicro.Renode.Peripherals.CPU
{
    public interface ICPU : IPeripheral
    {
        bool IsHalted { get; set; }
        void SyncTime();
    }
}

namespace Antmicro.Renode.Peripherals.Bus
{
    public interface IBusPeripheral : IPeripheral { }

    public interface IDoubleWordPeripheral : IBusPeripheral
    {
        uint ReadDoubleWord(long offset);
        void WriteDoubleWord(long offset, uint value);
    }

    public interface IKnownSize : IBusPeripheral
    {
        long Size { get; }
    }

    public interface IBusController
    {
        bool TryGetCurrentCPU(out ICPU cpu);
        void SetHookAfterPeripheralRead<T>(IBusPeripheral peripheral, Func<T, long, T> hook, Core.Range? subrange = null);
        void SetHookBeforePeripheralWrite<T>(IBusPeripheral peripheral, Func<T, long, T> hook, Core.Range? subrange = null);
    }
}

namespace Antmicro.Renode.Peripherals.I2C
{
    public interface II2CPeripheral : IPeripheral
    {
        void Write(byte[] data);
        byte[] Read(int count = 1);
        void FinishTransmission();
    }
}

namespace Antmicro.Renode.Peripherals.UART
{
    public interface IUART<T> : IPeripheral
    {
        event Action<T> CharReceived;
        void WriteChar(T value);
    }

    public interface IUART : IUART<byte> { }
}

namespace Antmicro.Renode.Peripherals.Memory
{
    public sealed class MappedMemory : IBusPeripheral
    {
        public MappedMemory(int size) { bytes = new byte[size]; }
        public uint ReadDoubleWord(long offset) { return BitConverter.ToUInt32(bytes, (int)offset); }
        public byte[] ReadBytes(long offset, int count, IPeripheral context = null)
        {
            var read = new byte[count];
            Array.Copy(bytes, offset, read, 0, count);
            return read;
        }
        public void WriteBytes(long offset, byte[] value, int count) { Array.Copy(value, 0, bytes, offset, count); }
        public void Reset() { }
        private readonly byte[] bytes;
    }
}

namespace Antmicro.Renode.Core
{
    public struct Range { }

    public interface IExternal { }

    public interface IConnectable<T>
    {
        void AttachTo(T what);
        void DetachFrom(T what);
    }

    public interface IMachine
    {
        Peripherals.IPeripheral this[string name] { get; }
        IBusController SystemBus { get; }
        TimeStamp ElapsedVirtualTime { get; }
        TimeSourceBase LocalTimeSource { get; }
        void ScheduleAction(TimeInterval delay, Action<TimeInterval> action, string name = null);
        void Pause();
    }

    public sealed class ExternalsManager
    {
        public void AddExternal(IExternal external, string name) { }
    }

    public class Emulation
    {
        public ExternalsManager ExternalsManager { get { return null; } }
    }
}
