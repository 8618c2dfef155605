// Sensirion SHT3x for Renode's I2C controllers, with switches for faults.
//
// One Read() returns the whole record (temperature, CRC, humidity, CRC): the controller of Renode
// 1.16.1 asks a part once per transfer and hands out what it got, a newer one asks byte by byte
// and keeps the rest. Renode's interface has no way to refuse a byte, so a part that does not
// acknowledge is one that was unplugged.
using System;

namespace Antmicro.Renode.Peripherals.Tianfu
{
    public class Sht3xModel : Antmicro.Renode.Peripherals.I2C.II2CPeripheral
    {
        public Sht3xModel()
        {
            Temperature = 25;
            Humidity = 50;
        }

        // Degrees Celsius and % relative humidity, as decimals: the Monitor has no doubles.
        public decimal Temperature { get; set; }

        public decimal Humidity { get; set; }

        // Faults, each until it is switched off again.
        public bool BadChecksum { get; set; }

        public bool Silent { get; set; }

        public bool Garbage { get; set; }

        public bool Saturated { get; set; }

        // Commands seen and answers given since the part was made.
        public int Commands { get; set; }

        public int Answers { get; set; }

        public void Write(byte[] data)
        {
            Commands = Commands + 1;
        }

        public byte[] Read(int count = 1)
        {
            if(Silent)
            {
                return new byte[0];
            }
            Answers = Answers + 1;
            var temperature = Word((Temperature + 45) / 175);
            var humidity = Word(Humidity / 100);
            if(Saturated)
            {
                temperature = 0xFFFF;
                humidity = 0xFFFF;
            }
            var record = new byte[6];
            Put(record, 0, temperature);
            Put(record, 3, humidity);
            if(BadChecksum)
            {
                record[2] ^= 0x55;
                record[5] ^= 0x55;
            }
            if(Garbage)
            {
                for(var i = 0; i < record.Length; i++)
                {
                    record[i] ^= (byte)(0xA5 + 13 * i);
                }
            }
            return record;
        }

        public void FinishTransmission()
        {
        }

        // The reset of the machine does not reach a part that has its own supply.
        public void Reset()
        {
        }

        private static int Word(decimal share)
        {
            var word = (int)Math.Round(share * 65535);
            return Math.Max(0, Math.Min(0xFFFF, word));
        }

        private static void Put(byte[] record, int at, int word)
        {
            record[at] = (byte)(word >> 8);
            record[at + 1] = (byte)word;
            record[at + 2] = Crc(record[at], record[at + 1]);
        }

        // SHT3x datasheet 4.12: polynomial 0x31, start 0xFF.
        private static byte Crc(byte high, byte low)
        {
            var crc = 0xFF;
            foreach(var value in new byte[] { high, low })
            {
                crc ^= value;
                for(var bit = 0; bit < 8; bit++)
                {
                    crc = (crc & 0x80) != 0 ? ((crc << 1) ^ 0x31) & 0xFF : (crc << 1) & 0xFF;
                }
            }
            return (byte)crc;
        }
    }
}
