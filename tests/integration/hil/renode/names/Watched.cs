// A machine of memory and registers around a NodeWatch, for a test of what the observer does.
//
// Its time is as Renode's: a wait lets a quantum pass while the core runs, nothing while the machine
// is paused, and a thousand quanta while only the core is halted. It reads commands, one in a line,
// and answers each with one line:
//
//     write BLOCK OFFSET VALUE     the node writes to rcc, nvic or flash_controller
//     read OFFSET                  the node reads from rcc, whose register holds 0
//     store VALUE                  the node's flash gets this byte at the start of the store
//     stored                       that byte
//     tick VALUE                   the node's milliseconds
//     reset                        the machine is reset
//     wait                         the outside waits for a moment
//     set NAME VALUE, get NAME, call NAME      a property or a method of the observer
using System;
using System.Collections.Generic;
using Antmicro.Renode.Core;
using Antmicro.Renode.Peripherals;
using Antmicro.Renode.Peripherals.Bus;
using Antmicro.Renode.Peripherals.CPU;
using Antmicro.Renode.Peripherals.Memory;
using Antmicro.Renode.Peripherals.Tianfu;
using Antmicro.Renode.Time;

public class Block : IBusPeripheral
{
    public void Reset() { }
}

public class Core : ICPU
{
    public bool IsHalted { get; set; }
    public void SyncTime() { }
    public void Reset() { }
}

public class Watched : IMachine, IBusController
{
    public IPeripheral this[string name] { get { return parts[name.Substring("sysbus.".Length)]; } }
    public IBusController SystemBus { get { return this; } }
    public TimeStamp ElapsedVirtualTime { get { return new TimeStamp(TimeInterval.FromMicroseconds(now)); } }
    public TimeSourceBase LocalTimeSource { get { return null; } }
    public void ScheduleAction(TimeInterval delay, Action<TimeInterval> action, string name = null) { }
    public void Pause() { paused = true; }
    public bool TryGetCurrentCPU(out ICPU cpu) { cpu = core; return true; }

    public void SetHookAfterPeripheralRead<T>(IBusPeripheral block, Func<T, long, T> hook, Antmicro.Renode.Core.Range? subrange = null)
    {
        reads[block] = (Func<uint, long, uint>)(object)hook;
    }

    public void SetHookBeforePeripheralWrite<T>(IBusPeripheral block, Func<T, long, T> hook, Antmicro.Renode.Core.Range? subrange = null)
    {
        writes[block] = (Func<uint, long, uint>)(object)hook;
    }

    private string Answer(string[] words, NodeWatch watch)
    {
        switch(words[0])
        {
        case "write":
            return writes[(IBusPeripheral)parts[words[1]]](Number(words[3]), Number(words[2])).ToString("x8");
        case "read":
            return reads[(IBusPeripheral)parts["rcc"]](0, Number(words[1])).ToString("x8");
        case "store":
            flash.WriteBytes(Store, new[] { (byte)Number(words[1]) }, 1);
            return "";
        case "stored":
            return flash.ReadBytes(Store, 1)[0].ToString("x2");
        case "tick":
            ram.WriteBytes(Ticks, BitConverter.GetBytes(Number(words[1])), 4);
            return "";
        case "reset":
            watch.Reset();
            return "";
        case "wait":
            now += paused ? 0 : core.IsHalted ? 1000000UL : 1000UL;
            return now.ToString();
        case "set":
            watch.GetType().GetProperty(words[1]).SetValue(watch, (int)Number(words[2]));
            return "";
        case "get":
            return watch.GetType().GetProperty(words[1]).GetValue(watch).ToString();
        default:
            watch.GetType().GetMethod(words[1]).Invoke(watch, null);
            return "";
        }
    }

    private static uint Number(string hex) { return Convert.ToUInt32(hex, 16); }

    public static void Main()
    {
        var machine = new Watched();
        foreach(var name in new[] { "rcc", "nvic", "flash_controller" })
        {
            machine.parts[name] = new Block();
        }
        machine.parts["cpu"] = machine.core;
        machine.parts["flash"] = machine.flash;
        machine.parts["sram"] = machine.ram;
        var watch = new NodeWatch(machine);
        watch.Attach();
        for(string line; (line = Console.ReadLine()) != null;)
        {
            Console.WriteLine(machine.Answer(line.Split(' '), watch));
        }
    }

    private const long Store = 0xC0000;
    private const long Ticks = 0x52A0;
    private readonly Dictionary<string, IPeripheral> parts = new Dictionary<string, IPeripheral>();
    private readonly Dictionary<IBusPeripheral, Func<uint, long, uint>> reads = new Dictionary<IBusPeripheral, Func<uint, long, uint>>();
    private readonly Dictionary<IBusPeripheral, Func<uint, long, uint>> writes = new Dictionary<IBusPeripheral, Func<uint, long, uint>>();
    private readonly Core core = new Core();
    private readonly MappedMemory flash = new MappedMemory(0x200000);
    private readonly MappedMemory ram = new MappedMemory(0x40000);
    private ulong now;
    private bool paused;
}
