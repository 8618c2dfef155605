// Registers of the STM32F405/407 that this port uses, by the names of RM0090.
//
// Always 32-bit accesses: an emulator may turn a byte store into a read, a change and a write
// (Renode does, and the read of a UART's DR takes a byte away), and APB registers on the chip
// itself do not promise byte stores either.
#pragma once

#include <stdint.h>

#include "board_gen.h"

typedef volatile uint32_t reg_t;

typedef struct {
    reg_t SR, DR, BRR, CR1, CR2, CR3, GTPR;
} uart_regs_t;

#define USART_SR_PE (1u << 0)
#define USART_SR_FE (1u << 1)
#define USART_SR_NF (1u << 2)
#define USART_SR_ORE (1u << 3)
#define USART_SR_RXNE (1u << 5)
#define USART_SR_TC (1u << 6)
#define USART_SR_TXE (1u << 7)
#define USART_CR1_RE (1u << 2)
#define USART_CR1_TE (1u << 3)
#define USART_CR1_RXNEIE (1u << 5)
#define USART_CR1_TCIE (1u << 6)
#define USART_CR1_TXEIE (1u << 7)
#define USART_CR1_PS (1u << 9)
#define USART_CR1_PCE (1u << 10)
#define USART_CR1_M (1u << 12)
#define USART_CR1_UE (1u << 13)
#define USART_CR2_STOP_2 (2u << 12)

typedef struct {
    reg_t MODER, OTYPER, OSPEEDR, PUPDR, IDR, ODR, BSRR, LCKR, AFR[2];
} gpio_regs_t;

#define GPIO(port) ((gpio_regs_t *)(GPIO_BASE + GPIO_STRIDE * (port)))

typedef struct {
    reg_t CR, PLLCFGR, CFGR, CIR, AHB1RSTR, AHB2RSTR, AHB3RSTR, reserved0, APB1RSTR, APB2RSTR;
    reg_t reserved1[2], AHB1ENR, AHB2ENR, AHB3ENR, reserved2, APB1ENR, APB2ENR;
    reg_t reserved3[2], AHB1LPENR, AHB2LPENR, AHB3LPENR, reserved4, APB1LPENR, APB2LPENR;
    reg_t reserved5[2], BDCR, CSR;
} rcc_regs_t;

#define RCC ((rcc_regs_t *)RCC_BASE)
#define RCC_CR_HSION (1u << 0)
#define RCC_CR_HSIRDY (1u << 1)
#define RCC_CR_HSEON (1u << 16)
#define RCC_CR_HSERDY (1u << 17)
#define RCC_CR_PLLON (1u << 24)
#define RCC_CR_PLLRDY (1u << 25)
#define RCC_CFGR_SW_PLL (2u << 0)
#define RCC_CFGR_SWS (3u << 2)
#define RCC_CFGR_SWS_PLL (2u << 2)
#define RCC_CFGR_PPRE1_DIV4 (5u << 10)
#define RCC_CFGR_PPRE2_DIV2 (4u << 13)
#define RCC_AHB2ENR_RNGEN (1u << 6)
#define RCC_APB1ENR_PWREN (1u << 28)
#define RCC_CSR_RMVF (1u << 24)
#define RCC_CSR_PINRSTF (1u << 26)
#define RCC_CSR_PORRSTF (1u << 27)
#define RCC_CSR_SFTRSTF (1u << 28)
#define RCC_CSR_IWDGRSTF (1u << 29)
#define RCC_CSR_WWDGRSTF (1u << 30)
#define RCC_CSR_LSION (1u << 0)

typedef struct {
    reg_t ACR, KEYR, OPTKEYR, SR, CR, OPTCR;
} flash_regs_t;

#define FLASH ((flash_regs_t *)FLASH_INTERFACE_BASE)
#define FLASH_ACR_LATENCY_5 (5u << 0)
#define FLASH_ACR_PRFTEN (1u << 8)
#define FLASH_ACR_ICEN (1u << 9)
#define FLASH_ACR_DCEN (1u << 10)
#define FLASH_ACR_DCRST (1u << 12)
#define FLASH_SR_BSY (1u << 16)
#define FLASH_SR_ERRORS (0xF2u)
#define FLASH_CR_PG (1u << 0)
#define FLASH_CR_SER (1u << 1)
#define FLASH_CR_SNB(n) ((uint32_t)(n) << 3)
#define FLASH_CR_PSIZE_32 (2u << 8)
#define FLASH_CR_STRT (1u << 16)
#define FLASH_CR_LOCK (1u << 31)

typedef struct {
    reg_t KR, PR, RLR, SR;
} iwdg_regs_t;

#define IWDG ((iwdg_regs_t *)IWDG_BASE)

typedef struct {
    reg_t CR, SR, DR;
} rng_regs_t;

#define RNG ((rng_regs_t *)RNG_BASE)
#define RNG_CR_RNGEN (1u << 2)
#define RNG_SR_DRDY (1u << 0)

typedef struct {
    reg_t SR, CR1, CR2, SMPR1, SMPR2, JOFR[4], HTR, LTR, SQR1, SQR2, SQR3, JSQR, JDR[4], DR;
} adc_regs_t;

#define ADC1 ((adc_regs_t *)ADC1_BASE)
#define ADC_CCR (*(reg_t *)(ADC1_BASE + 0x304))
#define ADC_SR_EOC (1u << 1)
#define ADC_CR2_ADON (1u << 0)
#define ADC_CR2_EOCS (1u << 10)
#define ADC_CR2_SWSTART (1u << 30)

typedef struct {
    reg_t CR1, CR2, OAR1, OAR2, DR, SR1, SR2, CCR, TRISE;
} i2c_regs_t;

#define I2C1 ((i2c_regs_t *)I2C1_BASE)
#define I2C_CR1_PE (1u << 0)
#define I2C_CR1_START (1u << 8)
#define I2C_CR1_STOP (1u << 9)
#define I2C_CR1_ACK (1u << 10)
#define I2C_CR1_POS (1u << 11)
#define I2C_CR1_SWRST (1u << 15)
#define I2C_SR1_SB (1u << 0)
#define I2C_SR1_ADDR (1u << 1)
#define I2C_SR1_BTF (1u << 2)
#define I2C_SR1_RXNE (1u << 6)
#define I2C_SR1_TXE (1u << 7)
#define I2C_SR1_BERR (1u << 8)
#define I2C_SR1_ARLO (1u << 9)
#define I2C_SR1_AF (1u << 10)
#define I2C_SR2_BUSY (1u << 1)

// The core: PM0214 (STM32F4 programming manual), sections 4.2 to 4.5.
typedef struct {
    reg_t CTRL, LOAD, VAL, CALIB;
} systick_regs_t;

#define SYSTICK ((systick_regs_t *)0xE000E010u)
#define SYSTICK_CTRL_ENABLE (1u << 0)
#define SYSTICK_CTRL_TICKINT (1u << 1)
#define SYSTICK_CTRL_CLKSOURCE (1u << 2)
#define SYSTICK_CTRL_COUNTFLAG (1u << 16)

#define NVIC_ISER(n) (((reg_t *)0xE000E100u)[n])
#define NVIC_ICER(n) (((reg_t *)0xE000E180u)[n])
#define NVIC_IPR(n) (((reg_t *)0xE000E400u)[n])

typedef struct {
    reg_t CPUID, ICSR, VTOR, AIRCR, SCR, CCR, SHPR1, SHPR2, SHPR3, SHCSR, CFSR, HFSR, DFSR;
    reg_t MMFAR, BFAR, AFSR;
} scb_regs_t;

#define SCB ((scb_regs_t *)0xE000ED00u)
#define SCB_ICSR_PENDSTSET (1u << 26)
#define SCB_AIRCR_SYSRESETREQ (0x05FA0004u)
#define SCB_CCR_STKALIGN (1u << 9)
#define SCB_CCR_DIV_0_TRP (1u << 4)
#define SCB_CFSR_MSTKERR (1u << 4)
#define SCB_CFSR_MMARVALID (1u << 7)
#define SCB_CFSR_STKERR (1u << 12)
#define SCB_CFSR_BFARVALID (1u << 15)
#define SCB_CPACR (*(reg_t *)0xE000ED88u)

typedef struct {
    reg_t TYPE, CTRL, RNR, RBAR, RASR;
} mpu_regs_t;

#define MPU ((mpu_regs_t *)0xE000ED90u)

static inline uint32_t irq_off(void) {
    uint32_t state;
    __asm volatile ("mrs %0, primask\n cpsid i" : "=r" (state) : : "memory");
    return state;
}

static inline void irq_restore(uint32_t state) {
    __asm volatile ("msr primask, %0" : : "r" (state) : "memory");
}

static inline void wait_for_interrupt(void) {
    __asm volatile ("wfi" : : : "memory");
}

static inline void barrier(void) {
    __asm volatile ("dsb\n isb" : : : "memory");
}
