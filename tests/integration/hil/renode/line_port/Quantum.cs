// A machine with a clock and a UART, and nothing else, for a test of hil/renode/models/LinePort.cs.
//
// It declares the names of Renode that the model uses, and keeps time as Renode does: the outside is
// met once in a quantum, what is scheduled happens at its time within it, and a time that is asked
// for without SyncTime before has the grain of the quantum. It reads commands, one in a line:
//
//     calls N          wait until the model has asked N times for the next meeting
//     send AT HEX      at AT us the node begins to send these bytes, one in 2 us
//     others           from now on other machines have their turn after this one, in each quantum
//     run US           let virtual time pass
//
// and answers each with `done`. `run` prints `heard AT HH` for each byte that reached the UART.
using System;
using System.Collections.Generic;
using System.Threading;
using Antmicro.Renode.Core;
using Antmicro.Renode.Peripherals.CPU;
using Antmicro.Renode.Peripherals.UART;
using Antmicro.Renode.Time;

namespace Antmicro.Renode.Time
{
    public struct TimeInterval
    {
        public static TimeInterval FromMicroseconds(ulong us) { return new TimeInterval { us = us }; }
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
        public bool TryGetVirtualTimeStamp(out TimeStamp stamp) { return Quantum.machine.TryGetOwnTime(out stamp); }
    }

    public class TimeSourceBase
    {
        public void ExecuteInNearestSyncedState(Action<TimeStamp> what)
        {
            lock(actions)
            {
                actions.Add(what);
                calls++;
                Monitor.PulseAll(actions);
            }
        }

        public List<Action<TimeStamp>> actions = new List<Action<TimeStamp>>();
        public int calls;
    }
}

namespace Antmicro.Renode.Peripherals
{
    public interface IPeripheral { }

    public static class IPeripheralExtensions
    {
        public static IMachine GetMachine(this IPeripheral peripheral) { return Quantum.machine; }
    }
}

namespace Antmicro.Renode.Peripherals.CPU
{
    public interface ICPU : IPeripheral { void SyncTime(); }
}

namespace Antmicro.Renode.Peripherals.Bus
{
    public interface IBusController { bool TryGetCurrentCPU(out ICPU cpu); }
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

namespace Antmicro.Renode.Core
{
    public interface IExternal { }

    public interface IConnectable<T>
    {
        void AttachTo(T what);
        void DetachFrom(T what);
    }

    public interface IMachine
    {
        TimeStamp ElapsedVirtualTime { get; }
        TimeSourceBase LocalTimeSource { get; }
        Peripherals.Bus.IBusController SystemBus { get; }
        void ScheduleAction(TimeInterval delay, Action<TimeInterval> action, string name = null);
    }

    public class ExternalsManager
    {
        public void AddExternal(IExternal external, string name) { Added = external; }
        public IExternal Added;
    }

    public class Emulation
    {
        public ExternalsManager ExternalsManager { get; } = new ExternalsManager();
    }
}

public class Quantum : IMachine, ICPU, Antmicro.Renode.Peripherals.Bus.IBusController, IUART
{
    public static Quantum machine = new Quantum();

    public event Action<byte> CharReceived;

    public void WriteChar(byte value) { Console.WriteLine("heard {0} {1:X2}", now, value); }

    public TimeSourceBase LocalTimeSource { get; } = new TimeSourceBase();

    public Antmicro.Renode.Peripherals.Bus.IBusController SystemBus { get { return this; } }

    public TimeStamp ElapsedVirtualTime
    {
        get { return new TimeStamp(TimeInterval.FromMicroseconds((ulong)known)); }
    }

    public bool TryGetCurrentCPU(out ICPU cpu)
    {
        cpu = running ? this : null;
        return running;
    }

    public void SyncTime()
    {
        own = now;
        known = others ? known : now;
    }

    public bool TryGetOwnTime(out TimeStamp stamp)
    {
        stamp = new TimeStamp(TimeInterval.FromMicroseconds((ulong)own));
        return running;
    }

    public void ScheduleAction(TimeInterval delay, Action<TimeInterval> action, string name = null)
    {
        known = now;
        At(now + (long)delay.TotalMicroseconds, () =>
        {
            known = now;
            action(TimeInterval.FromMicroseconds((ulong)now));
        });
    }

    private void At(long when, Action what)
    {
        if(!due.ContainsKey(when))
        {
            due[when] = new List<Action>();
        }
        due[when].Add(what);
    }

    private void Run(long us)
    {
        for(var end = now + us; now < end;)
        {
            var meeting = now + QuantumMicroseconds;
            running = true;
            while(due.Count > 0 && due.Keys[0] <= meeting)
            {
                var actions = due.Values[0];
                now = due.Keys[0];
                due.RemoveAt(0);
                actions.ForEach(action => action());
            }
            running = false;
            now = own = known = meeting;
            Action<TimeStamp>[] asked;
            lock(LocalTimeSource.actions)
            {
                asked = LocalTimeSource.actions.ToArray();
                LocalTimeSource.actions.Clear();
            }
            foreach(var action in asked)
            {
                action(ElapsedVirtualTime);
            }
        }
    }

    private void Send(long at, string hex)
    {
        for(var i = 0; i < hex.Length / 2; i++)
        {
            var value = Convert.ToByte(hex.Substring(2 * i, 2), 16);
            At(at + 2 * i, () => CharReceived(value));
        }
    }

    private void Calls(int count)
    {
        lock(LocalTimeSource.actions)
        {
            while(LocalTimeSource.calls < count)
            {
                Monitor.Wait(LocalTimeSource.actions);
            }
        }
    }

    public static void Main(string[] arguments)
    {
        var emulation = new Emulation();
        Antmicro.Renode.Peripherals.Tianfu.LinePortExtensions.CreateLinePort(emulation, "line", arguments[0]);
        ((Antmicro.Renode.Peripherals.Tianfu.LinePort)emulation.ExternalsManager.Added).AttachTo(machine);
        Console.WriteLine("done");
        for(string line; (line = Console.ReadLine()) != null;)
        {
            var words = line.Split(' ');
            switch(words[0])
            {
            case "calls":
                machine.Calls(int.Parse(words[1]));
                break;
            case "send":
                machine.Send(long.Parse(words[1]), words[2]);
                break;
            case "others":
                machine.others = true;
                break;
            case "run":
                machine.Run(long.Parse(words[1]));
                break;
            }
            Console.WriteLine("done");
        }
    }

    private const long QuantumMicroseconds = 1000;
    private readonly SortedList<long, List<Action>> due = new SortedList<long, List<Action>>();
    private long now, own, known;
    private bool running, others;
}
