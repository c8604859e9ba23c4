/** Payroll and leave: what the first hour's tests build, boot, call and audit. */

import { Decimal } from 'decimal.js';
import type { Handlers, hr_v1_LeaveRequest, hr_v1_SetSalaryRequest, hr_v1_Slip } from './enclaim.d.ts';

declare module './enclaim.d.ts' {
  interface Records {
    salaries: hr_v1_SetSalaryRequest;
    leaves: hr_v1_LeaveRequest;
  }
}

function slipOf({ employee = '', gross = '0', taxRate = '0' }: hr_v1_SetSalaryRequest): hr_v1_Slip {
  const tax = new Decimal(gross).times(taxRate).toDecimalPlaces(2);
  return { employee, pay: { gross, tax: tax.toFixed(2), net: new Decimal(gross).minus(tax).toFixed(2) } };
}

export const handlers: Handlers = {
  'hr.v1.Payroll/SetSalary': async (request, ctx) => {
    await ctx.store.salaries.put(request.employee ?? '', request);
    return { version: ctx.requestId };
  },

  'hr.v1.Payroll/GetSlip': async ({ employee = '' }, ctx) => {
    const salary = await ctx.store.salaries.get(employee);
    if (salary === null) throw new StatusError('NOT_FOUND', 'no such employee');
    return slipOf(salary);
  },

  'hr.v1.Payroll/RunMonth': async function* (_, ctx) {
    for (const employee of await ctx.store.salaries.list()) {
      const salary = await ctx.store.salaries.get(employee);
      if (salary !== null) yield slipOf(salary);
    }
  },

  'hr.v1.Leave/Request': async (request, ctx) => {
    await ctx.store.leaves.put(ctx.requestId, request);
    return { id: ctx.requestId };
  },

  'hr.v1.Leave/List': async ({ employee }, ctx) => {
    const leaves: hr_v1_LeaveRequest[] = [];
    for (const id of await ctx.store.leaves.list()) {
      const leave = await ctx.store.leaves.get(id);
      if (leave !== null && leave.employee === employee) leaves.push(leave);
    }
    return { leaves };
  },
};
