"""Which axes matter: Sobol' indices, fANOVA, PED-ANOVA."""
