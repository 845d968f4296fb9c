"""The synthetic chest: anatomy, vessels, disease."""
